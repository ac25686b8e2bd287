"""Shares and counters of fair claiming: which tenants have work, and how many of their jobs run.

A claim, and every statement by which a worker or an owner ends or requeues a running job, changes
`running` in both tables in its transaction, `tenant_queues` first. The sweeper's statements do
not: they move many tenants' jobs at once, and a recount follows (`recount`). So a counter is
never lower than the rows, and a limit never exceeded.
"""

from typing import Any, Final

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from common.domain.job import JobState
from common.postgres.expressions import is_one_of
from common.postgres.models import Job
from common.postgres.sql_text import load_sql


def is_ready(tenant_id: Any, queue: Any) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for jobs of a tenant in a queue that can be claimed now."""
    return (
        Job.tenant_id == tenant_id,
        Job.queue == queue,
        is_one_of(Job.state, {JobState.QUEUED}),
        Job.available_at <= func.now(),
    )


async def refresh_shares(
    connection: AsyncConnection, *, tenant_id: int | None = None, plan_id: int | None = None
) -> None:
    """Derive the shares of one tenant, or of all on one plan, from plan and tenant.

    Their virtual time is lifted to that of each queue: service they did not get while they were
    closed or held back by a limit is not made up for at the expense of others.
    """
    values = {"of_tenant": tenant_id, "of_plan": plan_id}
    await connection.execute(_LIFT_TENANTS, values)
    await connection.execute(_REFRESH_SHARES, values)


_LIFT_TENANTS: Final = load_sql(__package__, "lift_tenants.sql")
_REFRESH_SHARES: Final = load_sql(__package__, "refresh_shares.sql")
