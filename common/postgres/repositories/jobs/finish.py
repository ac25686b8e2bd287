"""Finish one job: succeed or fail it under its claim, or cancel it."""

from typing import Any, Final

from sqlalchemy import BigInteger, Executable, Text, Uuid, bindparam, func, select
from sqlalchemy.sql import column

from common.domain.job import Claim, EndedJob
from common.domain.record import JobResult
from common.postgres.models import Job
from common.postgres.repositories.jobs.job_rows import ENDED_JOB_COLUMNS
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor

SECONDS_TO_MILLISECONDS: Final = 1000


async def succeed(connection: Executor, claim: Claim, result: JobResult) -> EndedJob | None:
    """Finish a job as succeeded; return None if the claim was lost.

    The result, the usage entry and the webhook delivery are recorded in one statement.
    """
    values = _fence(claim) | {
        "to_result": result.to_json(),
        "charged_images": len(result.object_keys),
        "charged_milliseconds": round(result.engine_seconds * SECONDS_TO_MILLISECONDS),
        "charged_flagged": sum(result.nsfw),
    }
    return await _end_job(connection, _SUCCEED, values)


async def fail(connection: Executor, claim: Claim, *, code: str, message: str) -> EndedJob | None:
    """Finish a job as failed; return None if the claim was lost.

    The error and the webhook delivery are recorded in one statement.
    """
    return await _end_job(
        connection, _FAIL, _fence(claim) | {"to_error_code": code, "to_error_message": message}
    )


async def cancel(
    connection: Executor,
    *,
    tenant_id: int,
    job_id: int,
    message: str = "the job was canceled by its owner through the API",
) -> EndedJob | None:
    """Cancel an unfinished job; return None if it has ended or belongs to another tenant."""
    values = {"of_job": job_id, "of_tenant": tenant_id, "to_error_message": message}
    return await _end_job(connection, _CANCEL, values)


async def _end_job(
    connection: Executor, statement: Executable, values: dict[str, Any]
) -> EndedJob | None:
    row = (await connection.execute(statement, values)).first()
    return None if row is None else EndedJob(*row)


def _fence(claim: Claim) -> dict[str, Any]:
    return {"of_job": claim.job_id, "of_attempt": claim.attempt}


_SUCCEED: Final = load_sql(
    __package__, "succeed.sql", columns=ENDED_JOB_COLUMNS, types={"to_result": Job.result.type}
)
_FAIL: Final = load_sql(__package__, "fail.sql", columns=ENDED_JOB_COLUMNS)
# An SQL function, because the gateway's role has no right to change jobs.
_CANCEL: Final = select(
    *func.infill_cancel_job(
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
