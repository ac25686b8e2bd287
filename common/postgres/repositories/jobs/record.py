"""Recording a new job."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Executable, bindparam, select
from sqlalchemy.dialects.postgresql import Insert, insert

from common.domain.record import JobRecord, NewJob
from common.postgres.models import Job
from common.postgres.repositories.columns import JOB_COLUMNS, job_record
from common.postgres.repositories.fair_queue.shares import woken
from common.postgres.statements import Executor

_GIVEN: Final = (
    "tenant_id",
    "file_prefix",
    "queue",
    "priority",
    "max_attempts",
    "request",
    "inputs",
    "base64",
    "cost",
    "webhook_url",
    "track_id",
    "idempotency_key",
    "request_digest",
)


# Built once, and given their values when executed: building one anew takes longer than running it.
def _recording(inserting: Insert) -> Executable:
    recorded = inserting.returning(Job.id, Job.tenant_id, Job.queue).cte("recorded")
    return select(recorded.c.id).add_cte(woken(recorded))


_INSERT: Final = insert(Job).values(
    {name: bindparam(name, type_=Job.__table__.c[name].type) for name in _GIVEN}
)
_PLAIN: Final = _recording(_INSERT)
_GUARDED: Final = _recording(
    _INSERT.on_conflict_do_nothing(
        index_elements=[Job.tenant_id, Job.idempotency_key],
        index_where=Job.idempotency_key.is_not(None),
    )
)

_EARLIER: Final = select(*JOB_COLUMNS, Job.request_digest).where(
    Job.tenant_id == bindparam("tenant_id"), Job.idempotency_key == bindparam("idempotency_key")
)


@dataclass(frozen=True, slots=True)
class JobRecorded:
    """The job is in the books under this id."""

    job_id: int


@dataclass(frozen=True, slots=True)
class JobRepeated:
    """The same request came before under the same idempotency key; this is its job."""

    job: JobRecord


@dataclass(frozen=True, slots=True)
class IdempotencyKeyTaken:
    """The idempotency key was used before for another request."""

    job_id: int


async def record_job(
    connection: Executor, new: NewJob
) -> JobRecorded | JobRepeated | IdempotencyKeyTaken:
    """Insert a queued job, or find the one its idempotency key already made."""
    row = {
        "tenant_id": new.tenant_id,
        "file_prefix": new.file_prefix,
        "queue": new.queue,
        "priority": new.priority,
        "max_attempts": new.max_attempts,
        "request": new.request.to_json(),
        "inputs": {name: image.to_json() for name, image in new.inputs.items()},
        "base64": new.base64,
        "cost": new.request.cost,
        "webhook_url": new.webhook_url,
        "track_id": new.track_id,
        "idempotency_key": new.idempotency_key,
        "request_digest": new.request_digest,
    }
    if new.idempotency_key is None:
        return JobRecorded((await connection.execute(_PLAIN, row)).scalar())
    job_id = (await connection.execute(_GUARDED, row)).scalar()
    return await _earlier(connection, new) if job_id is None else JobRecorded(job_id)


async def _earlier(connection: Executor, new: NewJob) -> JobRepeated | IdempotencyKeyTaken:
    theirs = {"tenant_id": new.tenant_id, "idempotency_key": new.idempotency_key}
    row = (await connection.execute(_EARLIER, theirs)).first()
    job = job_record(row)
    return JobRepeated(job) if row[-1] == new.request_digest else IdempotencyKeyTaken(job.id)
