"""The books of fair claiming: who has work, and how many of whose jobs run.

A claim, and every statement by which a worker or an owner ends or requeues a running job, changes
`running` in both tables in its transaction, `tenant_queues` first. The sweeper's statements do
not: they move many tenants' jobs at once, and a recount follows (`recounting`). So a counter is
never lower than the rows, and a limit never passed.
"""

from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    Double,
    FromClause,
    exists,
    func,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.elements import ColumnElement

from common.domain.job import JobState
from common.postgres.models import Job, TenantQueue, TenantShare
from common.postgres.repositories.columns import is_one_of

# What stands for "no limit": more than ever run at once.
UNLIMITED: Final[ColumnElement[int]] = literal_column("2147483647", BigInteger())

# How many more jobs of a tenant may run in a queue, and whether any.
ROOM: Final[ColumnElement[int]] = func.least(
    func.coalesce(TenantShare.max_running_per_queue, UNLIMITED) - TenantQueue.running,
    func.coalesce(TenantShare.max_running, UNLIMITED) - TenantShare.running,
)
# Which tenants a claim may serve; `TenantQueue` joined with its `TenantShare`.
SERVABLE: Final[tuple[Any, ...]] = (
    TenantShare.tenant_id == TenantQueue.tenant_id,
    TenantQueue.has_ready,
    ~TenantShare.closed,
    ROOM > 0,
)


def is_ready(tenant_id: Any, queue: Any) -> tuple[ColumnElement[bool], ...]:
    """Choose the jobs of a tenant in a queue that wait and whose time has come."""
    return (
        Job.tenant_id == tenant_id,
        Job.queue == queue,
        is_one_of(Job.state, {JobState.QUEUED}),
        Job.available_at <= func.now(),
    )


def virtual_time_of(queue: Any) -> ColumnElement[float]:
    """Give a queue's own virtual time: to it a tenant is lifted that had nothing to be served.

    A function of the database's: it looks at all tenants, where a submit sees its own alone.
    """
    return func.infill_virtual_time(queue, type_=Double())


# What a tenant's virtual time is when it comes back: nothing has been saved up meanwhile.
LIFTED: Final[ColumnElement[float]] = func.greatest(
    TenantQueue.virtual_time, virtual_time_of(TenantQueue.queue)
)


def woken(recorded: CTE) -> CTE:
    """Note, in the statement that records a job (`tenant_id`, `queue`), that its tenant has work.

    A tenant known to have some is left alone: else each of a busy tenant's submits would wait for
    the one before, and for the claims.
    """
    known = exists().where(
        TenantQueue.tenant_id == recorded.c.tenant_id,
        TenantQueue.queue == recorded.c.queue,
        TenantQueue.has_ready,
    )
    fresh = insert(TenantQueue).from_select(
        ["tenant_id", "queue", "virtual_time", "has_ready"],
        select(
            recorded.c.tenant_id, recorded.c.queue, virtual_time_of(recorded.c.queue), true()
        ).where(~known),
    )
    return fresh.on_conflict_do_update(
        index_elements=[TenantQueue.tenant_id, TenantQueue.queue],
        set_={
            "has_ready": True,
            "virtual_time": func.greatest(TenantQueue.virtual_time, fresh.excluded.virtual_time),
        },
    ).cte("woken")


def freed(left: FromClause, *, ready: ColumnElement[bool] | None = None) -> tuple[CTE, CTE]:
    """Lower the counters, in the statement by which one job (`tenant_id`, `queue`) left `running`.

    `ready` says that the job waits again, and could be claimed now.
    """
    values: dict[str, Any] = {"running": TenantQueue.running - 1}
    if ready is not None:
        values["has_ready"] = TenantQueue.has_ready | ready
    of_queue = (
        update(TenantQueue)
        .where(TenantQueue.tenant_id == left.c.tenant_id, TenantQueue.queue == left.c.queue)
        .values(values)
        .returning(TenantQueue.tenant_id)
        .cte("freed_of_queue")
    )
    of_tenant = (
        update(TenantShare)
        .where(TenantShare.tenant_id == of_queue.c.tenant_id)
        .values(running=TenantShare.running - 1)
        .cte("freed_of_tenant")
    )
    return of_queue, of_tenant
