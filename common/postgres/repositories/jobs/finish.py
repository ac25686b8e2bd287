"""Ending one job: by who holds its claim, or by who does not want it any more."""

from typing import Any

from sqlalchemy import BigInteger, Executable, Text, Uuid, bindparam, func, select
from sqlalchemy.sql import column

from common.domain.delivery import Event
from common.domain.job import Claim, EndedJob, JobState
from common.domain.record import JobResult
from common.postgres.models import Job
from common.postgres.repositories.columns import is_one_of
from common.postgres.repositories.fair_queue.shares import freed
from common.postgres.repositories.jobs.endings import charge, end, tell
from common.postgres.statements import Executor

SECONDS_TO_MILLISECONDS = 1000


async def succeed(connection: Executor, claim: Claim, result: JobResult) -> EndedJob | None:
    """Store the result, the usage and the delivery; None if the claim was lost."""
    values = _of(claim) | {
        "to_result": result.to_json(),
        "charged_images": len(result.object_keys),
        "charged_milliseconds": round(result.engine_seconds * SECONDS_TO_MILLISECONDS),
        "charged_flagged": sum(result.nsfw),
    }
    return await _one(connection, _SUCCEED, values)


async def fail(connection: Executor, claim: Claim, *, code: str, message: str) -> EndedJob | None:
    """Store the reason and the delivery; None if the claim was lost."""
    return await _one(
        connection, _FAIL, _of(claim) | {"to_error_code": code, "to_error_message": message}
    )


async def cancel(
    connection: Executor, *, tenant_id: int, job_id: int, message: str = "canceled by its owner"
) -> EndedJob | None:
    """End a job that is not wanted; None if it is not this tenant's or has ended already."""
    values = {"of_job": job_id, "of_tenant": tenant_id, "to_error_message": message}
    return await _one(connection, _CANCEL, values)


async def _one(
    connection: Executor, statement: Executable, values: dict[str, Any]
) -> EndedJob | None:
    row = (await connection.execute(statement, values)).first()
    return None if row is None else EndedJob(*row)


def _of(claim: Claim) -> dict[str, Any]:
    return {"of_job": claim.job_id, "of_attempt": claim.attempt}


# The statements, put together once: that takes longer than running them.

_FENCE = (
    Job.id == bindparam("of_job"),
    Job.attempt == bindparam("of_attempt"),
    is_one_of(Job.state, {JobState.RUNNING}),
)
_SUCCEEDED = end(
    JobState.SUCCEEDED,
    *_FENCE,
    result=bindparam("to_result"),
    suspect=False,
    error_code=None,  # of an attempt before this one
    error_message=None,
)
_SUCCEED = tell(_SUCCEEDED, Event.SUCCEEDED, *charge(_SUCCEEDED), *freed(_SUCCEEDED))
_FAILED = end(
    JobState.FAILED,
    *_FENCE,
    suspect=False,
    error_code=bindparam("to_error_code"),
    error_message=bindparam("to_error_message"),
)
_FAIL = tell(_FAILED, Event.FAILED, *freed(_FAILED))
# By the database's own function: a gateway may cancel for a tenant, and change no job otherwise.
_CANCEL = select(
    *func.infill_cancel(
        bindparam("of_tenant", type_=BigInteger()),
        bindparam("of_job", type_=BigInteger()),
        bindparam("to_error_message", type_=Text()),
    )
    .table_valued(
        column("job_id", BigInteger()),
        column("file_prefix", Uuid()),
        column("delivery_id", Uuid()),
    )
    .c
)
