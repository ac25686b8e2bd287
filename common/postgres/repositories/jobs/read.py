"""Reading jobs back; always as one tenant's."""

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

# Built once: for a statement built anew, SQLAlchemy matches every column of the result again,
# which takes longer than the query.
_VIEW: Final = (
    select(*JOB_COLUMNS, Delivery.state, Delivery.failures)
    .outerjoin(Delivery, Delivery.job_id == Job.id)
    .where(Job.id == bindparam("job_id"), Job.tenant_id == bindparam("tenant_id"))
)
_ENDED: Final = select(
    func.infill_ended(bindparam("prefixes", type_=ARRAY(Uuid()))).column_valued("file_prefix")
)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as its owner sees it: with where its webhook stands, None before it has ended."""

    job: JobRecord
    delivery: DeliveryState | None
    delivery_failures: int


async def read_job(connection: Executor, *, tenant_id: int, job_id: int) -> JobView | None:
    """Read a job of that tenant; somebody else's is as absent as one that never was."""
    row = (await connection.execute(_VIEW, {"job_id": job_id, "tenant_id": tenant_id})).first()
    return None if row is None else _view(row)


async def find_ended(connection: Executor, prefixes: Collection[UUID]) -> set[UUID]:
    """Give those of these jobs that have ended: the fallback of callers waiting without Redis.

    They are several tenants', so a function of the database's is asked.
    """
    rows = (await connection.execute(_ENDED, {"prefixes": list(prefixes)})).all()
    return {row[0] for row in rows}


def _view(row: Sequence[Any]) -> JobView:
    state, failures = row[-2], row[-1]
    return JobView(
        job=to_job_record(row),
        delivery=None if state is None else DeliveryState(str(state)),
        delivery_failures=int(str(failures or 0)),
    )
