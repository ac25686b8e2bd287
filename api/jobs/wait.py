"""Delay a response until its job ends, the wait times out or the caller disconnects."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from starlette.requests import Request

from api.services import Services
from common.domain.job import FINAL_STATES
from common.domain.record import JobRecord
from common.postgres.errors import is_unavailable
from common.postgres.repositories.jobs.read import JobView, read_job

# Returns when the caller has closed the connection.
HungUp = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a response waits for its job: at most `seconds`, until the caller disconnects.

    With 0 seconds it does not wait. `hung_up` returns when the caller disconnects.
    """

    seconds: float
    hung_up: HungUp


log = structlog.get_logger(__name__)


def hanging_up(request: Request) -> HungUp:
    """Return an async function that waits until the caller of `request` disconnects.

    Call that function only after the body of the request has been read.
    """

    async def until_disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass  # the empty end of the body

    return until_disconnected


def unfinished_view(job: JobRecord) -> JobView:
    """Return the view of an unfinished job, which has no webhook delivery yet."""
    return JobView(job=job, delivery=None, delivery_failures=0)


async def follow_job(services: Services, job: JobRecord, wait: Wait) -> JobView:
    """Wait for the end of a job recorded by an earlier request; return it like `wait_for_job`."""
    with services.completions.expect(job.file_prefix) as ended:
        # The job may have ended between reading its row and starting to listen.
        view = await _read(services, unfinished_view(job))
        return await wait_for_job(services, view, ended, wait)


async def wait_for_job(
    services: Services, view: JobView, ended: asyncio.Event, wait: Wait
) -> JobView:
    """Wait for the event `ended` within the limits of `wait`; read the job again and return it.

    Return `view` unchanged if the job has ended already, waiting is disabled (0 seconds), or the
    caller disconnects first.
    """
    if not wait.seconds or view.job.state in FINAL_STATES:
        return view
    if await _hangs_up_first(ended, wait):
        return view  # nobody reads the response
    return await _read(services, view)


async def _hangs_up_first(ended: asyncio.Event, wait: Wait) -> bool:
    waiting = asyncio.ensure_future(ended.wait())
    gone = asyncio.ensure_future(wait.hung_up())
    try:
        await asyncio.wait({waiting, gone}, timeout=wait.seconds, return_when="FIRST_COMPLETED")
        return gone.done() and not ended.is_set()
    finally:
        waiting.cancel()
        gone.cancel()


async def _read(services: Services, view: JobView) -> JobView:
    """Read the job again; if Postgres is down, return `view`, as the caller needs the job's id."""
    try:
        async with services.database.direct(view.job.tenant_id) as connection:
            found = await read_job(connection, tenant_id=view.job.tenant_id, job_id=view.job.id)
    except Exception as error:
        if not is_unavailable(error):
            raise
        log.warning("job_not_read_again", error=type(error).__name__)
        return view
    return found or view
