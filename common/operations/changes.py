"""How every change is made: one after the other, and in the audit or not at all."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from common.operations.operator import Operator
from common.postgres.database import Database
from common.postgres.locks import Lock, wait_for_lock
from common.postgres.repositories.tenants.audit import add_audit_entry


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
