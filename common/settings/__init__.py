"""Every setting, read from the environment; the only place that does."""

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
    """All sections; each is read from the environment when first asked for, then kept."""

    @cached_property
    def database(self) -> DatabaseSettings:
        """Postgres."""
        return DatabaseSettings()

    @cached_property
    def redis(self) -> RedisSettings:
        """The doorbell."""
        return RedisSettings()

    @cached_property
    def storage(self) -> StorageSettings:
        """The object store."""
        return StorageSettings()

    @cached_property
    def outbound(self) -> OutboundSettings:
        """The guard."""
        return OutboundSettings()

    @cached_property
    def jobs(self) -> JobSettings:
        """Leases and attempts."""
        return JobSettings()

    @cached_property
    def retention(self) -> RetentionSettings:
        """How long things are kept."""
        return RetentionSettings()

    @cached_property
    def webhooks(self) -> WebhookSettings:
        """Deliveries."""
        return WebhookSettings()

    @cached_property
    def gateway(self) -> GatewaySettings:
        """The HTTP face."""
        return GatewaySettings()

    @cached_property
    def worker(self) -> WorkerSettings:
        """A GPU worker."""
        return WorkerSettings()

    @cached_property
    def models(self) -> ModelSettings:
        """The models served."""
        return ModelSettings()

    @cached_property
    def telemetry(self) -> TelemetrySettings:
        """Logs and numbers."""
        return TelemetrySettings()
