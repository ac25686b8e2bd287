"""Claim jobs, fairly between tenants."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from sqlalchemy import Executable, bindparam, exists, update

from common.domain.job import Claim
from common.domain.record import ClaimedJob
from common.postgres.models import Job, TenantQueue
from common.postgres.repositories.fair_queue.shares import is_ready
from common.postgres.repositories.jobs.job_rows import JOB_COLUMNS, to_job_record
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor

# Other claimers hold all tenants that are next; they hold them for milliseconds.
MOST_TRIES: Final = 50
LONGEST_PAUSE_SECONDS: Final = 0.008


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """Result of one claim: jobs in the order they are due.

    `unreadable` are claims of jobs that a newer release recorded, with the error: release them.
    """

    jobs: list[ClaimedJob] = field(default_factory=list)
    unreadable: list[tuple[Claim, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Return whether any job was claimed."""
        return bool(self.jobs or self.unreadable)


async def claim_jobs(
    connection: Executor, *, queues: Sequence[str], worker: str, lease_seconds: float, limit: int
) -> ClaimResult:
    """Claim up to `limit` jobs of the first of `queues` that has any to be claimed.

    They are those due next by start-time fair queueing: of the tenant with the least service
    received for its weight, and of each tenant the highest priority first, then the oldest. A
    tenant at its limit of running jobs is passed over; so is one that another claimer is
    serving, so claimers seldom wait for each other. A suspect is claimed alone. The new attempt
    number of each job is the fence for every later write.
    """
    values = {"of_queues": list(queues), "by_worker": worker, "lease_seconds": lease_seconds}
    for number in range(MOST_TRIES):
        rows = (await connection.execute(_claim_statement(limit), values)).all()
        if not rows:
            return ClaimResult()
        if rows[0][0] is None:
            if number:  # the first time its snapshot was most often too old: a new one will do
                pause = random.uniform(0, LONGEST_PAUSE_SECONDS)  # noqa: S311 guards nothing
                await asyncio.sleep(pause)
            continue
        await _look_again(connection, rows)
        if claimed := _claimed([row[3:] for row in rows if row[3] is not None]):
            return claimed
    return ClaimResult()


async def _look_again(connection: Executor, rows: Sequence[Sequence[Any]]) -> None:
    """Look again at tenants that seemed to have no work left: a submit may have crossed us."""
    emptied = {(row[0], row[1]) for row in rows if not row[2]}
    for tenant_id, queue in emptied:
        await connection.execute(_LOOK_AGAIN, {"of_tenant": tenant_id, "of_queue": queue})


def _claimed(rows: Sequence[Sequence[Any]]) -> ClaimResult:
    claimed = ClaimResult()
    for row in rows:
        *_, max_attempts, suspect = row
        try:
            claimed.jobs.append(ClaimedJob(to_job_record(row), max_attempts, suspect))
        except (TypeError, ValueError, KeyError) as error:
            claim = Claim(*(row[JOB_COLUMNS.index(column)] for column in (Job.id, Job.attempt)))
            claimed.unreadable.append((claim, str(error)))
    return claimed


# Once for each limit: loading it takes longer than running it.
@cache
def _claim_statement(limit: int) -> Executable:
    served = (TenantQueue.tenant_id, TenantQueue.queue, TenantQueue.has_ready)
    return load_sql(
        __package__,
        "claim_jobs.sql",
        columns=(*served, *JOB_COLUMNS, Job.max_attempts, Job.suspect),
        integers={"limit": limit},
    )


_LOOK_AGAIN: Final = (
    update(TenantQueue)
    .where(
        TenantQueue.tenant_id == bindparam("of_tenant"),
        TenantQueue.queue == bindparam("of_queue"),
        ~TenantQueue.has_ready,
        exists().where(*is_ready(TenantQueue.tenant_id, TenantQueue.queue)),
    )
    .values(has_ready=True)
    .returning(TenantQueue.tenant_id)
)
