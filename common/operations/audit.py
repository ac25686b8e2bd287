"""The audit log, which records every change by an operator in the transaction of the change."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncConnection

from common.operations.paging import Listed, Page, parse_page
from common.postgres.database import Database
from common.postgres.locks import Lock, wait_for_lock
from common.postgres.repositories.tenants.audit import (
    AuditRecord,
    add_audit_entry,
    list_audit_entries,
)


@dataclass(frozen=True, slots=True)
class Operator:
    """A person who runs the installation; `name` identifies them in the audit log."""

    name: str

    @classmethod
    def with_admin_key(cls, key_name: str) -> Self:
        """Return the operator who uses the admin API with the admin key `key_name`."""
        return cls(f"admin-key:{key_name}")

    @classmethod
    def at_command_line(cls, user: str) -> Self:
        """Return the operator who runs the `infill` command as the system user `user`."""
        return cls(f"cli:{user}")


@dataclass(slots=True)
class Change:
    """A change in progress: the connection of its transaction, and the contents of its audit entry.

    `details` must never contain a key or a secret.
    """

    connection: AsyncConnection
    tenant: str | None
    subject: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def audited_change(
    database: Database, operator: Operator, action: str, *, tenant: str | None = None
) -> AsyncGenerator[Change]:
    """Open a transaction for one change, and write its audit entry at the end of the block.

    An advisory lock serializes all changes, so that they cannot deadlock or overwrite each other
    and audit ids are in commit order.
    """
    async with database.transaction() as connection:
        await wait_for_lock(connection, Lock.OPERATORS)
        change = Change(connection, tenant)
        yield change
        await add_audit_entry(
            connection,
            actor=operator.name,
            action=action,
            tenant=change.tenant,
            subject=change.subject,
            details=change.details,
        )


async def list_audit(
    database: Database, page: Page, *, tenant: str | None = None
) -> Listed[AuditRecord]:
    """Return a page of audit entries, latest first; `tenant` may name a deleted tenant.

    Raises:
        InvalidValueError: the page's limit or cursor is invalid.
    """
    position = parse_page(page, "audit")
    async with database.statement() as connection:
        rows = await list_audit_entries(
            connection, tenant=tenant, after=position.after, limit=position.rows_to_read
        )
    return position.to_page(rows)
