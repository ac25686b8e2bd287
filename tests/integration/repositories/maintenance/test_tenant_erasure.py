"""Statements of erasure: each affects one tenant, stops at its limit, and uses an index."""

import pytest
from sqlalchemy import text

from common.domain.job import FINAL_STATES, JobState
from common.postgres.models import Job
from common.postgres.repositories.maintenance.tenant_erasure import (
    cancel_queued,
    delete_drained_tenant,
    delete_ended_jobs,
    delete_usage,
    find_tenants_to_erase,
    is_drained,
)
from tests.integration.repositories.support.query_plans import Call, plans
from tests.integration.repositories.support.tenant_rows import TenantRows

# Ended jobs of a hundred tenants, a few queued or running ones, and rows that refer to them.
FILL_TENANTS = """
INSERT INTO tenants (name, plan_id)
SELECT 'tenant-' || n, plans.id FROM plans, generate_series(1, 100) AS n
"""
FILL = """
INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, cost,
    state, finished_at, lease_expires_at)
SELECT (SELECT min(id) FROM tenants) + n % 100, gen_random_uuid(), 'q', 3, '{}', '{}', false, 1, s,
    CASE s WHEN 'failed' THEN now() END, CASE s WHEN 'running' THEN now() END
FROM generate_series(1, 20000) AS n, LATERAL (SELECT CASE WHEN n % 401 = 0 THEN 'running'
    WHEN n % 101 = 0 THEN 'queued' ELSE 'failed' END) AS states(s)
"""
FILL_DELIVERIES = """
INSERT INTO deliveries (job_id, tenant_id, event, url)
SELECT id, tenant_id, 'job.failed', 'https://caller.test' FROM jobs
"""
FILL_USAGE = """
INSERT INTO usage_entries (job_id, tenant_id, model, images, megapixel_steps, gpu_milliseconds)
SELECT id, tenant_id, 'm', 1, 1, 1 FROM jobs
"""


async def fill(alice: TenantRows) -> None:
    async with alice.database.transaction() as connection:
        for statement in (FILL_TENANTS, FILL, FILL_DELIVERIES, FILL_USAGE, "ANALYZE"):
            await connection.execute(text(statement))


async def mark_deleting(alice: TenantRows, *, seconds_ago: float) -> None:
    async with alice.database.statement() as connection:
        moment = "now() - make_interval(secs => :seconds)"
        await connection.execute(
            text(f"UPDATE tenants SET deleting_at = {moment} WHERE id = :id"),  # noqa: S608 ours
            {"id": alice.tenant_id, "seconds": seconds_ago},
        )


async def test_tenants_to_erase_are_found_earliest_first(
    alice: TenantRows, bob: TenantRows
) -> None:
    async with alice.database.statement() as connection:
        assert await find_tenants_to_erase(connection, seconds=0) == []
        await mark_deleting(bob, seconds_ago=60)
        await mark_deleting(alice, seconds_ago=40)
        assert await find_tenants_to_erase(connection, seconds=30) == [
            bob.tenant_id,
            alice.tenant_id,
        ]
        assert await find_tenants_to_erase(connection, seconds=50) == [bob.tenant_id]


async def test_only_the_tenants_own_queued_jobs_are_canceled(
    alice: TenantRows, bob: TenantRows
) -> None:
    claims = {state: await alice.add_job(state) for state in JobState}
    theirs = await bob.add_job(JobState.QUEUED)
    async with alice.database.statement() as connection:
        assert await cancel_queued(connection, alice.tenant_id, limit=10) == 1
        assert await cancel_queued(connection, alice.tenant_id, limit=10) == 0
    for state, claim in claims.items():
        found = (await alice.read_job(claim.job_id))["state"]
        assert found == (JobState.CANCELED if state is JobState.QUEUED else state)
    assert (await alice.read_job(theirs.job_id))["state"] == "queued"


@pytest.mark.parametrize("state", JobState)
async def test_a_tenant_with_only_ended_jobs_is_drained(
    alice: TenantRows, bob: TenantRows, state: JobState
) -> None:
    for unfinished in (JobState.QUEUED, JobState.RUNNING):
        await bob.add_job(unfinished)
    async with alice.database.statement() as connection:
        assert await is_drained(connection, alice.tenant_id)
        await alice.add_job(state)
        assert await is_drained(connection, alice.tenant_id) == (state in FINAL_STATES)


async def test_only_ended_jobs_are_deleted(alice: TenantRows, bob: TenantRows) -> None:
    for state in JobState:
        await alice.add_job(state)
        await bob.add_job(state)
    async with alice.database.statement() as connection:
        deleted = [await delete_ended_jobs(connection, alice.tenant_id, limit=2) for _ in range(3)]
    assert deleted == [2, 1, 0]
    left = await alice.read_rows(Job)
    assert [row["state"] for row in left if row["tenant_id"] == alice.tenant_id] == [
        "queued",
        "running",
    ]
    assert sum(row["tenant_id"] == bob.tenant_id for row in left) == len(JobState)


@pytest.mark.parametrize("state", JobState)
async def test_a_tenant_with_a_job_is_not_deleted(alice: TenantRows, state: JobState) -> None:
    await mark_deleting(alice, seconds_ago=60)
    await alice.add_job(state)
    async with alice.database.statement() as connection:
        assert not await delete_drained_tenant(connection, alice.tenant_id)
        await connection.execute(text("DELETE FROM jobs"))
        assert await delete_drained_tenant(connection, alice.tenant_id)
        assert not await delete_drained_tenant(connection, alice.tenant_id)


async def test_a_tenant_not_marked_for_deletion_is_not_deleted(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        assert not await delete_drained_tenant(connection, alice.tenant_id)


@pytest.mark.parametrize(
    ("call", "indexes"),
    [
        pytest.param(lambda c: cancel_queued(c, 1, limit=10), {"ix_jobs_queued"}, id="cancel"),
        pytest.param(lambda c: is_drained(c, 1), {"ix_jobs_queued", "ix_jobs_lease"}, id="drained"),
        pytest.param(
            lambda c: delete_ended_jobs(c, 1, limit=10), {"ix_jobs_tenant_id"}, id="delete_jobs"
        ),
        pytest.param(
            lambda c: delete_usage(c, 1, limit=10),
            {"ix_usage_entries_tenant_id_created_at"},
            id="delete_usage",
        ),
        pytest.param(
            lambda c: delete_drained_tenant(c, 1),
            {"ix_jobs_tenant_id"},
            id="delete_tenant",
        ),
    ],
)
async def test_the_index_is_used(
    alice: TenantRows, database_url: str, call: Call, indexes: set[str]
) -> None:
    await fill(alice)
    for plan in await plans(alice.database, database_url, call):
        assert {name for name in indexes if name in plan} == indexes, plan
        assert "Seq Scan on jobs" not in plan, plan
        assert "Seq Scan on usage_entries" not in plan, plan


async def test_every_foreign_key_to_tenants_has_an_index(alice: TenantRows) -> None:
    """Without one, a cascading deletion would scan the whole table."""
    unindexed = """
    SELECT conrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND confrelid = 'tenants'::regclass AND NOT EXISTS (
        SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1]
        AND indpred IS NULL)
    """
    async with alice.database.statement() as connection:
        assert list((await connection.execute(text(unindexed))).scalars()) == []
