"""The audit log: every change an operator makes is recorded in it, in the same transaction."""

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
    """Whoever runs the installation, as the audit names them."""

    name: str

    @classmethod
    def with_admin_key(cls, key_name: str) -> Self:
        """Name whoever came over HTTP, by their admin key."""
        return cls(f"admin-key:{key_name}")

    @classmethod
    def at_command_line(cls, user: str) -> Self:
        """Name whoever ran `infill`, by their account on that machine."""
        return cls(f"cli:{user}")


@dataclass(slots=True)
class Change:
    """A change under way: where it is made, and what the audit will say of it.

    `details` never hold a key or a secret.
    """

    connection: AsyncConnection
    tenant: str | None
    subject: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def audited_change(
    database: Database, operator: Operator, action: str, *, tenant: str | None = None
) -> AsyncGenerator[Change]:
    """Open a transaction for one change; its audit row is written as the block ends.

    Changes wait for each other, all of them: so none is made to what another is just replacing,
    they cannot lock each other out, and the audit's numbers are in the order of their commits.
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
    """Give what operators changed, latest first; of one tenant's name, also one long gone.

    Raises:
        InvalidValueError: there is no such page.
    """
    position = parse_page(page, "audit")
    async with database.statement() as connection:
        rows = await list_audit_entries(
            connection, tenant=tenant, after=position.after, limit=position.rows_to_read
        )
    return position.to_page(rows)
