"""Tables of admin keys and of the audit log."""

from datetime import datetime
from typing import Any

from sqlalchemy import Identity, Index, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import Table


class AdminKey(Table):
    """A key for the admin API; only its HMAC digest is stored."""

    __tablename__ = "admin_keys"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    last_four: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AuditEntry(Table):
    """One change by an operator, written in the transaction of the change.

    `actor` is the operator, `action` is e.g. `tenant.create`; `tenant` and `subject` are names and
    ids at the time of the change; `details` are the changed values, without secrets. The entry is
    kept when its tenant is deleted.
    """

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    action: Mapped[str]
    tenant: Mapped[str | None]
    subject: Mapped[str | None]
    details: Mapped[dict[str, Any]]

    __table_args__ = (Index(None, "tenant", "id"),)
