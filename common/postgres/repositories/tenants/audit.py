"""Add and list audit entries, which record the changes made by operators."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.expressions import select_page
from common.postgres.models import AuditEntry

_ENTRIES: Final = select(
    AuditEntry.id,
    AuditEntry.created_at,
    AuditEntry.actor,
    AuditEntry.action,
    AuditEntry.tenant,
    AuditEntry.subject,
    AuditEntry.details,
)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change by the operator `actor`; `tenant` and `subject` name what was changed."""

    id: int
    created_at: datetime
    actor: str
    action: str
    tenant: str | None
    subject: str | None
    details: dict[str, Any]


async def add_audit_entry(
    connection: AsyncConnection,
    *,
    actor: str,
    action: str,
    tenant: str | None,
    subject: str | None,
    details: Mapping[str, Any],
) -> None:
    """Add an audit entry in the transaction of the change that it records."""
    entry = {"actor": actor, "action": action, "tenant": tenant, "subject": subject}
    await connection.execute(insert(AuditEntry).values(**entry, details=dict(details)))


async def list_audit_entries(
    connection: AsyncConnection, *, tenant: str | None, after: int | None, limit: int
) -> list[AuditRecord]:
    """Return up to `limit` audit entries with ids below `after`, latest first.

    `tenant` selects the entries of the tenant with this name; None selects all entries.
    """
    statement = _ENTRIES if tenant is None else _ENTRIES.where(AuditEntry.tenant == tenant)
    page = select_page(statement, AuditEntry.id, after, limit, newest_first=True)
    return [AuditRecord(*row) for row in await connection.execute(page)]
