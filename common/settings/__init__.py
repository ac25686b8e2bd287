"""All settings, read from environment variables; no other package reads the environment."""

from functools import cached_property

from common.settings.http import HttpSettings
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
    "HttpSettings",
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
    """All settings, by section; a section is read from the environment at first access."""

    @cached_property
    def database(self) -> DatabaseSettings:
        """Settings of the connections to Postgres."""
        return DatabaseSettings()

    @cached_property
    def redis(self) -> RedisSettings:
        """Settings of the connections to Redis."""
        return RedisSettings()

    @cached_property
    def storage(self) -> StorageSettings:
        """Settings of the object store."""
        return StorageSettings()

    @cached_property
    def outbound(self) -> OutboundSettings:
        """Settings of the outbound guard: rules for tenant-supplied addresses."""
        return OutboundSettings()

    @cached_property
    def jobs(self) -> JobSettings:
        """Settings of jobs: leases, attempts and sweeping."""
        return JobSettings()

    @cached_property
    def retention(self) -> RetentionSettings:
        """Settings of retention: how long data is kept before it is deleted."""
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
    def http(self) -> HttpSettings:
        """Settings of the gateway's HTTP connections."""
        return HttpSettings()

    @cached_property
    def worker(self) -> WorkerSettings:
        """Settings of a GPU worker."""
        return WorkerSettings()

    @cached_property
    def models(self) -> ModelSettings:
        """Settings of the models: which are served, and where their files are."""
        return ModelSettings()

    @cached_property
    def telemetry(self) -> TelemetrySettings:
        """Settings of logging, and of the status server for health and metrics."""
        return TelemetrySettings()
