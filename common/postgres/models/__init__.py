"""SQLAlchemy models of the tables: columns, constraints and indexes."""

from common.postgres.models.deliveries import Delivery, DeliveryAttempt
from common.postgres.models.installation import Installation
from common.postgres.models.jobs import Job, Worker
from common.postgres.models.operators import AdminKey, AuditEntry
from common.postgres.models.origins import TenantDispatch, TenantOrigin
from common.postgres.models.schema import Table
from common.postgres.models.shares import TenantQueue, TenantShare
from common.postgres.models.tenants import ApiKey, Plan, Tenant, WebhookSecret
from common.postgres.models.usage import DailyUsage, UnfoldedUsage, UsageEntry

__all__ = [
    "AdminKey",
    "ApiKey",
    "AuditEntry",
    "DailyUsage",
    "Delivery",
    "DeliveryAttempt",
    "Installation",
    "Job",
    "Plan",
    "Table",
    "Tenant",
    "TenantDispatch",
    "TenantOrigin",
    "TenantQueue",
    "TenantShare",
    "UnfoldedUsage",
    "UsageEntry",
    "WebhookSecret",
    "Worker",
]
