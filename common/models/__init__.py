"""The tables: columns and constraints only."""

from common.models.deliveries import Delivery, DeliveryAttempt
from common.models.installation import Installation
from common.models.jobs import Job, Worker
from common.models.lines import DeliveryLine, DeliveryTurn
from common.models.operators import AdminKey, AuditEntry
from common.models.schema import Table
from common.models.shares import TenantQueue, TenantShare
from common.models.tenants import ApiKey, Plan, Tenant, WebhookSecret
from common.models.usage import DailyUsage, UnfoldedUsage, UsageEntry

__all__ = [
    "AdminKey",
    "ApiKey",
    "AuditEntry",
    "DailyUsage",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryLine",
    "DeliveryTurn",
    "Installation",
    "Job",
    "Plan",
    "Table",
    "Tenant",
    "TenantQueue",
    "TenantShare",
    "UnfoldedUsage",
    "UsageEntry",
    "WebhookSecret",
    "Worker",
]
