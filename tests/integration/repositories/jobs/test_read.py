"""Reading jobs and finding ended ones."""

from uuid import uuid4

import pytest

from common.domain.delivery import DeliveryState
from common.domain.job import FINAL_STATES, JobState
from common.postgres.repositories.jobs.read import JobView, find_ended, read_job
from tests.integration.repositories.support.tenant_rows import RESULT, TenantRows


async def read(alice: TenantRows, job_id: int) -> JobView | None:
    async with alice.database.statement() as connection:
        return await read_job(connection, tenant_id=alice.tenant_id, job_id=job_id)


async def test_a_job_is_read_with_the_state_of_its_delivery(alice: TenantRows) -> None:
    claim = await alice.add_delivery(DeliveryState.EXHAUSTED, failures=10)
    job_id = (await alice.read_delivery(claim.delivery_id))["job_id"]
    view = await read(alice, job_id)
    assert view is not None
    assert (view.job.id, view.job.state, view.job.result) == (job_id, JobState.SUCCEEDED, RESULT)
    assert (view.delivery, view.delivery_failures) == (DeliveryState.EXHAUSTED, 10)


@pytest.mark.parametrize("state", JobState)
async def test_a_job_without_a_delivery(alice: TenantRows, state: JobState) -> None:
    claim = await alice.add_job(state)
    view = await read(alice, claim.job_id)
    assert view is not None
    assert (view.job.state, view.delivery, view.delivery_failures) == (state, None, 0)


async def test_another_tenants_job_is_not_found(alice: TenantRows, bob: TenantRows) -> None:
    job_id = await alice.queue_job()
    assert await read(alice, job_id) is not None
    assert await read(bob, job_id) is None
    assert await read(alice, job_id + 1) is None


async def test_ended_jobs_are_found_by_prefix(alice: TenantRows) -> None:
    prefixes = {}
    for state in JobState:
        claim = await alice.add_job(state)
        prefixes[state] = (await alice.read_job(claim.job_id))["file_prefix"]
    async with alice.database.statement() as connection:
        found = await find_ended(connection, {*prefixes.values(), uuid4()})
        assert found == {prefixes[state] for state in FINAL_STATES}
        assert await find_ended(connection, []) == set()
        assert await find_ended(connection, [prefixes[JobState.FAILED]]) == {
            prefixes[JobState.FAILED]
        }
