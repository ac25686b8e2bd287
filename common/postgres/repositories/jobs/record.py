"""Record new jobs, at most one per idempotency key."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select

from common.domain.record import JobRecord, NewJob
from common.postgres.models import Job
from common.postgres.repositories.jobs.job_rows import JOB_COLUMNS, to_job_record
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor

_RECORD_JOB: Final = load_sql(
    __package__,
    "record_job.sql",
    columns=(Job.id,),
    types={name: Job.__table__.c[name].type for name in ("request", "inputs", "track_id")},
)
_FIND_EARLIER: Final = select(*JOB_COLUMNS, Job.request_digest).where(
    Job.tenant_id == bindparam("tenant_id"), Job.idempotency_key == bindparam("idempotency_key")
)


@dataclass(frozen=True, slots=True)
class JobRecorded:
    """Result of `record_job`: the job was recorded with the id `job_id`."""

    job_id: int


@dataclass(frozen=True, slots=True)
class JobRepeated:
    """Result of `record_job`: `job` was recorded earlier with the same key and the same request."""

    job: JobRecord


@dataclass(frozen=True, slots=True)
class IdempotencyKeyTaken:
    """Result of `record_job`: the key was used earlier for a different request, as job `job_id`."""

    job_id: int


async def record_job(
    connection: Executor, new: NewJob
) -> JobRecorded | JobRepeated | IdempotencyKeyTaken:
    """Record a job as queued, unless its tenant has already used its idempotency key."""
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
    job_id = (await connection.execute(_RECORD_JOB, row)).scalar()
    if job_id is not None:
        return JobRecorded(job_id)
    return _to_outcome((await connection.execute(_FIND_EARLIER, _key_of(new))).first(), new)


async def find_earlier_job(
    connection: Executor, new: NewJob
) -> JobRepeated | IdempotencyKeyTaken | None:
    """Return the job that the tenant recorded earlier with the idempotency key of `new`, or None.

    `record_job` decides: another request may record a job between the two calls.
    """
    row = (await connection.execute(_FIND_EARLIER, _key_of(new))).first()
    return None if row is None else _to_outcome(row, new)


def _key_of(new: NewJob) -> dict[str, Any]:
    return {"tenant_id": new.tenant_id, "idempotency_key": new.idempotency_key}


def _to_outcome(row: Any, new: NewJob) -> JobRepeated | IdempotencyKeyTaken:
    job = to_job_record(row)
    return JobRepeated(job) if row[-1] == new.request_digest else IdempotencyKeyTaken(job.id)
