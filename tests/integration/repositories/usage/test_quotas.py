"""A tenant's unfinished jobs and idempotency keys, which quotas check."""

import pytest

from common.domain.job import FINAL_STATES, JobState
from common.postgres.repositories.usage.quotas import (
    UnfinishedJobs,
    count_unfinished,
    is_idempotency_key_used,
)
from tests.integration.repositories.support.query_plans import fill, plans
from tests.integration.repositories.support.tenant_rows import FAR_AHEAD, TenantRows


async def read_unfinished(alice: TenantRows, most: int = 10) -> UnfinishedJobs:
    async with alice.database.direct() as connection:
        return await count_unfinished(connection, alice.tenant_id, limit=most)


async def test_a_tenant_without_jobs_has_none_unfinished(alice: TenantRows) -> None:
    assert await read_unfinished(alice) == UnfinishedJobs(0, 0.0)


async def test_queued_jobs_are_counted_and_running_ones_add_cost(
    alice: TenantRows, bob: TenantRows
) -> None:
    await alice.queue_job()
    await alice.queue_job(columns={"available_at": FAR_AHEAD})  # waits for a retry
    await alice.queue_job(queue="another")
    for state in (JobState.RUNNING, *FINAL_STATES):
        await alice.add_job(state)
    await bob.queue_job()
    await bob.add_job(JobState.RUNNING)
    assert await read_unfinished(alice) == UnfinishedJobs(3, 40.0)
    assert await read_unfinished(alice, most=2) == UnfinishedJobs(2, 30.0)
    assert await read_unfinished(alice, most=0) == UnfinishedJobs(0, 10.0)


async def test_an_idempotency_key_is_used_only_by_its_tenant(
    alice: TenantRows, bob: TenantRows
) -> None:
    await alice.queue_job(idempotency_key="k", request_digest=b"d")
    async with alice.database.direct() as connection:
        assert await is_idempotency_key_used(connection, alice.tenant_id, "k")
        assert not await is_idempotency_key_used(connection, alice.tenant_id, "other")
        assert not await is_idempotency_key_used(connection, bob.tenant_id, "k")


async def test_both_statements_use_indexes(
    alice: TenantRows, bob: TenantRows, database_url: str
) -> None:
    """They never scan the queued jobs of all tenants."""
    await fill(alice)
    tenant = bob.tenant_id
    for plan in await plans(
        alice.database, database_url, lambda c: count_unfinished(c, tenant, limit=1000)
    ):
        assert "ix_jobs_queued" in plan or "ix_jobs_tenant_id" in plan
        assert "ix_jobs_waiting" not in plan
        assert "Seq Scan" not in plan
    for plan in await plans(
        alice.database, database_url, lambda c: is_idempotency_key_used(c, tenant, "k")
    ):
        assert "uq_jobs_idempotency_key" in plan or "ix_jobs_tenant_id" in plan


@pytest.mark.parametrize("priority", [-100, 0, 100])
async def test_a_priority_is_recorded(alice: TenantRows, priority: int) -> None:
    assert (await alice.read_job(await alice.queue_job(priority=priority)))["priority"] == priority
