"""Tables of plans, tenants, API keys and webhook secrets."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Identity, LargeBinary, func, text
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import Table


class Plan(Table):
    """A named set of limits for tenants; see `common.domain.limits.Limits`."""

    __tablename__ = "plans"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    limits: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Tenant(Table):
    """A customer, which owns jobs, keys, secrets, deliveries and usage.

    `limits` are the tenant's own limits, which override the plan's limits. A tenant being deleted
    (`deleting_at`) is disabled until all its data has been erased; this row is deleted last.
    """

    __tablename__ = "tenants"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"), index=True)
    limits: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    disabled_at: Mapped[datetime | None]
    deleting_at: Mapped[datetime | None]


class ApiKey(Table):
    """An API key of a tenant; only its HMAC digest is stored."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    last_four: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class WebhookSecret(Table):
    """A secret that signs a tenant's webhooks; during a rotation several secrets are live."""

    __tablename__ = "webhook_secrets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), index=True)
    secret: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
