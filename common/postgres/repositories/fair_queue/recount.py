"""Recount: derive the counters of fair claiming anew from the jobs.

Runs beside the processes that keep them, and holds no lock while it counts; see
`recount_queues.sql`.
"""

from typing import Final

from sqlalchemy import Double, exists, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.models import TenantQueue
from common.postgres.repositories.fair_queue.shares import is_ready
from common.postgres.sql_text import load_sql


async def recount_running(connection: AsyncConnection) -> int:
    """Correct the counters of running jobs; return how many were wrong."""
    wrong_queues = (await connection.execute(_RECOUNT_QUEUES)).rowcount
    return wrong_queues + (await connection.execute(_RECOUNT_SHARES)).rowcount


async def mark_ready_tenants(connection: AsyncConnection) -> int:
    """Mark tenants that have work after all; return how many.

    Jobs that wait for another attempt become due without a ring, and a submit may cross a claim
    that found nothing more.
    """
    return (await connection.execute(_WAKE)).rowcount


async def recount_backlogs(connection: AsyncConnection) -> None:
    """Set each tenant's `backlog` to the work that waits; reads every waiting job's index entry."""
    await connection.execute(_RECOUNT_BACKLOGS)


_RECOUNT_QUEUES: Final = load_sql(__package__, "recount_queues.sql")
_RECOUNT_SHARES: Final = load_sql(__package__, "recount_shares.sql")
_RECOUNT_BACKLOGS: Final = load_sql(__package__, "recount_backlogs.sql")
_WAKE: Final = (
    update(TenantQueue)
    .where(
        ~TenantQueue.has_ready,
        exists().where(*is_ready(TenantQueue.tenant_id, TenantQueue.queue)),
    )
    .values(
        has_ready=True,
        # Nothing has been saved up meanwhile: it starts at the queue's own virtual time.
        virtual_time=func.greatest(
            TenantQueue.virtual_time, func.infill_virtual_time(TenantQueue.queue, type_=Double())
        ),
    )
)
