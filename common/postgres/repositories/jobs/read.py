"""Read one tenant's jobs, and find jobs that have ended while callers wait for them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from common.domain.delivery import DeliveryState
from common.domain.record import JobRecord
from common.postgres.models import Delivery, Job
from common.postgres.repositories.jobs.job_rows import JOB_COLUMNS, to_job_record
from common.postgres.statements import Executor

# Composed once: for a new statement SQLAlchemy maps every column of the result again, which takes
# longer than the query.
_READ_JOB: Final = (
    select(*JOB_COLUMNS, Delivery.state, Delivery.failures)
    .outerjoin(Delivery, Delivery.job_id == Job.id)
    .where(Job.id == bindparam("job_id"), Job.tenant_id == bindparam("tenant_id"))
)
_FIND_ENDED: Final = select(
    func.infill_ended_jobs(bindparam("prefixes", type_=ARRAY(Uuid()))).column_valued("file_prefix")
)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with the state of its webhook delivery, which is None if there is no delivery yet."""

    job: JobRecord
    delivery: DeliveryState | None
    delivery_failures: int


async def read_job(connection: Executor, *, tenant_id: int, job_id: int) -> JobView | None:
    """Return one job of a tenant, or None if the tenant has no job with this id."""
    row = (await connection.execute(_READ_JOB, {"job_id": job_id, "tenant_id": tenant_id})).first()
    return None if row is None else _to_job_view(row)


async def find_ended(connection: Executor, prefixes: Collection[UUID]) -> set[UUID]:
    """Return the subset of `prefixes` whose jobs have ended; used while Redis is down.

    The jobs belong to several tenants, so this calls an SQL function that sees the rows of all
    tenants.
    """
    rows = (await connection.execute(_FIND_ENDED, {"prefixes": list(prefixes)})).all()
    return {row[0] for row in rows}


def _to_job_view(row: Sequence[Any]) -> JobView:
    state, failures = row[-2], row[-1]
    return JobView(
        job=to_job_record(row),
        delivery=None if state is None else DeliveryState(str(state)),
        delivery_failures=int(str(failures or 0)),
    )
