"""The tables: columns and constraints only."""

from common.models.deliveries import Delivery, DeliveryAttempt
from common.models.installation import Installation
from common.models.jobs import Job, UsageEntry, Worker
from common.models.schema import Table
from common.models.tenants import ApiKey, Tenant, WebhookSecret

__all__ = [
    "ApiKey",
    "Delivery",
    "DeliveryAttempt",
    "Installation",
    "Job",
    "Table",
    "Tenant",
    "UsageEntry",
    "WebhookSecret",
    "Worker",
]
