"""Reading jobs back."""

from uuid import uuid4

import pytest

from common.domain.delivery import DeliveryState
from common.domain.job import FINAL_STATES, JobState
from common.postgres.repositories.jobs.read import JobView, find_ended, read_job
from tests.integration.repositories.support.counters import RESULT, Books


async def read(books: Books, job_id: int) -> JobView | None:
    async with books.database.statement() as connection:
        return await read_job(connection, tenant_id=books.tenant_id, job_id=job_id)


async def test_a_job_is_read_with_where_its_webhook_stands(books: Books) -> None:
    claim = await books.delivery_in(DeliveryState.EXHAUSTED, failures=10)
    job_id = (await books.delivery(claim.delivery_id))["job_id"]
    view = await read(books, job_id)
    assert view is not None
    assert (view.job.id, view.job.state, view.job.result) == (job_id, JobState.SUCCEEDED, RESULT)
    assert (view.delivery, view.delivery_failures) == (DeliveryState.EXHAUSTED, 10)


@pytest.mark.parametrize("state", JobState)
async def test_a_job_without_a_delivery(books: Books, state: JobState) -> None:
    claim = await books.job_in(state)
    view = await read(books, claim.job_id)
    assert view is not None
    assert (view.job.state, view.delivery, view.delivery_failures) == (state, None, 0)


async def test_somebody_elses_job_is_as_absent_as_none(books: Books, other_books: Books) -> None:
    job_id = await books.queued()
    assert await read(books, job_id) is not None
    assert await read(other_books, job_id) is None
    assert await read(books, job_id + 1) is None


async def test_those_that_have_ended_are_found(books: Books) -> None:
    prefixes = {}
    for state in JobState:
        claim = await books.job_in(state)
        prefixes[state] = (await books.job(claim.job_id))["file_prefix"]
    async with books.database.statement() as connection:
        found = await find_ended(connection, {*prefixes.values(), uuid4()})
        assert found == {prefixes[state] for state in FINAL_STATES}
        assert await find_ended(connection, []) == set()
        assert await find_ended(connection, [prefixes[JobState.FAILED]]) == {
            prefixes[JobState.FAILED]
        }
