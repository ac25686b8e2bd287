"""Tenants' shares: weights and limits on running jobs, as claims read them.

Statements that claim jobs, and statements by which a worker, a tenant or an operator ends or
requeues one running job, update `running` first in `tenant_queues`, then in `tenant_shares`. The
sweeper's statements do not, because they change jobs of many tenants; they are followed by a
recount (`recount`). So a counter is never lower than the number of running jobs, and limits are
never exceeded.
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
    """Return SQL conditions that select this tenant's jobs in `queue` that can be claimed now."""
    return (
        Job.tenant_id == tenant_id,
        Job.queue == queue,
        is_one_of(Job.state, {JobState.QUEUED}),
        Job.available_at <= func.now(),
    )


async def refresh_shares(
    connection: AsyncConnection, *, tenant_id: int | None = None, plan_id: int | None = None
) -> None:
    """Update the share of one tenant, or of all tenants on one plan, from the current limits.

    The tenants' virtual times are first raised to the virtual times of their queues, so that
    tenants do not catch up, at other tenants' expense, on service missed while they were disabled
    or limited.
    """
    values = {"of_tenant": tenant_id, "of_plan": plan_id}
    await connection.execute(_LIFT_TENANTS, values)
    await connection.execute(_REFRESH_SHARES, values)


_LIFT_TENANTS: Final = load_sql(__package__, "lift_tenants.sql")
_REFRESH_SHARES: Final = load_sql(__package__, "refresh_shares.sql")
