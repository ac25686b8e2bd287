"""Claim jobs by start-time fair queueing between tenants."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Executable, bindparam, exists, update

from common.domain.job import Claim
from common.domain.record import ClaimedJob
from common.postgres.models import Job, TenantQueue
from common.postgres.repositories.fair_queue.shares import is_ready
from common.postgres.repositories.jobs.job_rows import JOB_COLUMNS, to_job_record
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor

# Claims repeated while other workers have locked all tenants that are next, which takes
# milliseconds.
MAX_TRIES: Final = 50
MAX_PAUSE_SECONDS: Final = 0.008


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """Result of one claim: the claimed jobs, in the order in which they should run.

    `unreadable` are the claims, each with an error message, of jobs that this release cannot read
    because a newer release recorded them. The caller must release these claims.
    """

    jobs: list[ClaimedJob] = field(default_factory=list)
    unreadable: list[tuple[Claim, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Return whether any job was claimed."""
        return bool(self.jobs or self.unreadable)


async def claim_jobs(
    connection: Executor,
    *,
    queues: Sequence[str],
    worker: str,
    lease_seconds: float,
    limit: int,
    tenant_limits: Mapping[int, int] = MappingProxyType({}),
) -> ClaimResult:
    """Claim up to `limit` jobs of the first queue in `queues` that has claimable jobs.

    Tenants are served by start-time fair queueing: the tenant that has received the least service
    for its weight comes first. Of its jobs, those with the highest priority come first, then the
    oldest. Tenants that have reached their limit of running jobs are skipped, and so are tenants
    from which another worker is claiming, so claims rarely wait for each other. Of the tenants in
    `tenant_limits`, at most the given number of jobs is claimed, possibly none. A suspect (a job
    whose last attempt lost its worker) is claimed alone. Each claim increments the job's attempt
    number, which fences all later writes.
    """
    values = {
        "of_queues": list(queues),
        "by_worker": worker,
        "lease_seconds": lease_seconds,
        "limited_tenants": list(tenant_limits),
        "tenant_limits": list(tenant_limits.values()),
    }
    for number in range(MAX_TRIES):
        rows = (await connection.execute(_claim_statement(limit), values)).all()
        if not rows:
            return ClaimResult()
        if rows[0][0] is None:
            if number:  # after the first try a newer snapshot is usually enough
                pause = random.uniform(0, MAX_PAUSE_SECONDS)  # noqa: S311 guards nothing
                await asyncio.sleep(pause)
            continue
        await _recheck_tenants(connection, rows)
        if claimed := _to_claim_result([row[3:] for row in rows if row[3] is not None]):
            return claimed
    return ClaimResult()


async def _recheck_tenants(connection: Executor, rows: Sequence[Sequence[Any]]) -> None:
    """Mark tenants as ready again if they have jobs that were recorded during the claim."""
    without_more = {(row[0], row[1]) for row in rows if not row[2]}
    for tenant_id, queue in without_more:
        await connection.execute(_RECHECK_TENANT, {"of_tenant": tenant_id, "of_queue": queue})


def _to_claim_result(rows: Sequence[Sequence[Any]]) -> ClaimResult:
    claimed = ClaimResult()
    for row in rows:
        *_, max_attempts, suspect = row
        try:
            claimed.jobs.append(ClaimedJob(to_job_record(row), max_attempts, suspect))
        except (TypeError, ValueError, KeyError) as error:
            claim = Claim(*(row[JOB_COLUMNS.index(column)] for column in (Job.id, Job.attempt)))
            claimed.unreadable.append((claim, str(error)))
    return claimed


# Loaded once for each limit: loading it takes longer than running it.
@cache
def _claim_statement(limit: int) -> Executable:
    served = (TenantQueue.tenant_id, TenantQueue.queue, TenantQueue.has_ready)
    return load_sql(
        __package__,
        "claim_jobs.sql",
        columns=(*served, *JOB_COLUMNS, Job.max_attempts, Job.suspect),
        integers={"limit": limit},
    )


_RECHECK_TENANT: Final = (
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
