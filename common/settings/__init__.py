"""All settings, read from environment variables; no other package reads the environment."""

from functools import cached_property

from common.settings.jobs import JobSettings
from common.settings.outbound import OutboundSettings
from common.settings.processes import (
    GatewaySettings,
    ModelSettings,
    TelemetrySettings,
    WorkerSettings,
)
from common.settings.retention import RetentionSettings
from common.settings.section import Section
from common.settings.stores import DatabaseSettings, RedisSettings, StorageSettings
from common.settings.webhooks import WebhookSettings

__all__ = [
    "DatabaseSettings",
    "GatewaySettings",
    "JobSettings",
    "ModelSettings",
    "OutboundSettings",
    "RedisSettings",
    "RetentionSettings",
    "Section",
    "Settings",
    "StorageSettings",
    "TelemetrySettings",
    "WebhookSettings",
    "WorkerSettings",
]


class Settings:
    """All sections of settings; each is read from the environment on first access, then cached."""

    @cached_property
    def database(self) -> DatabaseSettings:
        """Settings of the connection to Postgres."""
        return DatabaseSettings()

    @cached_property
    def redis(self) -> RedisSettings:
        """Settings of the connection to Redis."""
        return RedisSettings()

    @cached_property
    def storage(self) -> StorageSettings:
        """Settings of the object store."""
        return StorageSettings()

    @cached_property
    def outbound(self) -> OutboundSettings:
        """Rules for requests to addresses given by tenants."""
        return OutboundSettings()

    @cached_property
    def jobs(self) -> JobSettings:
        """Settings of leases, attempts and sweeping of jobs."""
        return JobSettings()

    @cached_property
    def retention(self) -> RetentionSettings:
        """How long data is kept before it is deleted."""
        return RetentionSettings()

    @cached_property
    def webhooks(self) -> WebhookSettings:
        """Settings of webhook deliveries."""
        return WebhookSettings()

    @cached_property
    def gateway(self) -> GatewaySettings:
        """Settings of the gateway."""
        return GatewaySettings()

    @cached_property
    def worker(self) -> WorkerSettings:
        """Settings of a GPU worker."""
        return WorkerSettings()

    @cached_property
    def models(self) -> ModelSettings:
        """Which models are served, and where they are."""
        return ModelSettings()

    @cached_property
    def telemetry(self) -> TelemetrySettings:
        """Settings of logs, and of the status server with health and metrics."""
        return TelemetrySettings()
