"""Recount: recompute the counters of fair queueing from the jobs.

Other processes may change the counters meanwhile, because no lock is held while counting; see
`recount_queues.sql`.
"""

from typing import Final

from sqlalchemy import Double, exists, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.models import TenantQueue
from common.postgres.repositories.fair_queue.shares import is_ready
from common.postgres.sql_text import load_sql


async def recount_running(connection: AsyncConnection) -> int:
    """Recount the running jobs per tenant and queue; return how many counters were corrected."""
    wrong_queues = (await connection.execute(_RECOUNT_QUEUES)).rowcount
    return wrong_queues + (await connection.execute(_RECOUNT_SHARES)).rowcount


async def mark_ready_tenants(connection: AsyncConnection) -> int:
    """Mark tenants that have due jobs as ready; return the number of newly marked tenants.

    A mark can be missing because a job that waits for a retry becomes due as time passes, or
    because a job was recorded while a claim found no more jobs and cleared the mark.
    """
    return (await connection.execute(_MARK_READY)).rowcount


async def recount_backlogs(connection: AsyncConnection) -> None:
    """Set the `backlog` of each tenant and queue to the cost of its waiting jobs.

    This is costly with many waiting jobs, because it reads an index entry for each of them.
    """
    await connection.execute(_RECOUNT_BACKLOGS)


_RECOUNT_QUEUES: Final = load_sql(__package__, "recount_queues.sql")
_RECOUNT_SHARES: Final = load_sql(__package__, "recount_shares.sql")
_RECOUNT_BACKLOGS: Final = load_sql(__package__, "recount_backlogs.sql")
_MARK_READY: Final = (
    update(TenantQueue)
    .where(
        ~TenantQueue.has_ready,
        exists().where(*is_ready(TenantQueue.tenant_id, TenantQueue.queue)),
    )
    .values(
        has_ready=True,
        # Idle time earns no credit: the tenant starts at the queue's own virtual time.
        virtual_time=func.greatest(
            TenantQueue.virtual_time, func.infill_virtual_time(TenantQueue.queue, type_=Double())
        ),
    )
)
