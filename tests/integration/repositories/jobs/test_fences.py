"""Every statement that changes a job's state, tried in every state."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import Claim, JobState
from common.postgres.repositories.jobs.finish import cancel, fail, succeed
from common.postgres.repositories.jobs.leases import release_claim, renew_claims, retry_later
from common.postgres.repositories.maintenance.expire import fail_abandoned, fail_overdue
from common.postgres.repositories.maintenance.requeue import requeue_expired
from tests.integration.repositories.support.tenant_rows import LONG_AGO, QUEUE, RESULT, TenantRows

Move = Callable[[AsyncConnection, Claim], Awaitable[object]]

FENCED: dict[str, tuple[Move, JobState]] = {
    "succeed": (lambda c, claim: succeed(c, claim, RESULT), JobState.SUCCEEDED),
    "fail": (lambda c, claim: fail(c, claim, code="x", message="y"), JobState.FAILED),
    "retry_later": (
        lambda c, claim: retry_later(c, claim, seconds=9, code="x", message="y"),
        JobState.QUEUED,
    ),
    "release_claim": (release_claim, JobState.QUEUED),
    "renew_claims": (lambda c, claim: renew_claims(c, [claim], 60.0), JobState.RUNNING),
}
NOTHING: tuple[object, ...] = (None, False, set(), 0, [])


async def run(alice: TenantRows, move: Move, claim: Claim) -> object:
    async with alice.database.statement() as connection:
        return await move(connection, claim)


@pytest.mark.parametrize("name", FENCED)
async def test_only_the_holder_of_the_claim_changes_a_job(alice: TenantRows, name: str) -> None:
    move, target = FENCED[name]
    for state in JobState:
        claim = await alice.add_job(state)
        for attempt in (0, claim.attempt - 1, claim.attempt, claim.attempt + 1):
            held = state is JobState.RUNNING and attempt == claim.attempt
            before = await alice.read_everything()
            result = await run(alice, move, replace(claim, attempt=attempt))
            assert (result not in NOTHING) == held, (state, attempt, result)
            if held:
                assert (await alice.read_job(claim.job_id))["state"] is target
                break
            assert await alice.read_everything() == before, (state, attempt)


@pytest.mark.parametrize("name", FENCED)
async def test_nothing_changes_for_an_unknown_job(alice: TenantRows, name: str) -> None:
    await alice.add_job(JobState.RUNNING)
    before = await alice.read_everything()
    assert await run(alice, FENCED[name][0], Claim(987_654, 2)) in NOTHING
    assert await alice.read_everything() == before


@pytest.mark.parametrize("state", JobState)
async def test_only_unfinished_jobs_are_canceled(alice: TenantRows, state: JobState) -> None:
    claim = await alice.add_job(state)
    before = await alice.read_everything()
    async with alice.database.statement() as connection:
        ended = await cancel(connection, tenant_id=alice.tenant_id, job_id=claim.job_id)
    if state in {JobState.QUEUED, JobState.RUNNING}:
        assert ended is not None
        assert (await alice.read_job(claim.job_id))["state"] is JobState.CANCELED
    else:
        assert ended is None
        assert await alice.read_everything() == before


@pytest.mark.parametrize("state", JobState)
async def test_the_sweeper_changes_running_jobs_only(alice: TenantRows, state: JobState) -> None:
    """Jobs whose lease expired are requeued if they have attempts left, and failed otherwise."""
    lease = {"lease_expires_at": LONG_AGO} if state is JobState.RUNNING else {}
    left = await alice.add_job(state, max_attempts=3, **lease)
    used_up = await alice.add_job(state, max_attempts=2, **lease)
    before = await alice.read_everything()
    async with alice.database.statement() as connection:
        requeued = await requeue_expired(connection, limit=10)
        failed = await fail_abandoned(connection, limit=10)
    if state is JobState.RUNNING:
        assert (requeued, [ended.job_id for ended in failed]) == (1, [used_up.job_id])
        row = await alice.read_job(left.job_id)
        assert (row["state"], row["suspect"]) == (JobState.QUEUED, True)
        assert (await alice.read_job(used_up.job_id))["state"] is JobState.FAILED
    else:
        assert (requeued, failed) == (0, [])
        assert await alice.read_everything() == before


@pytest.mark.parametrize("state", JobState)
async def test_only_queued_jobs_become_overdue(alice: TenantRows, state: JobState) -> None:
    claim = await alice.add_job(state, created_at=LONG_AGO)
    before = await alice.read_everything()
    async with alice.database.statement() as connection:
        failed = await fail_overdue(connection, max_queue_seconds=1.0, limit=10)
    if state is JobState.QUEUED:
        assert [ended.job_id for ended in failed] == [claim.job_id]
    else:
        assert failed == []
        assert await alice.read_everything() == before


async def test_a_worker_that_lost_its_claim_changes_nothing(alice: TenantRows) -> None:
    """The job was requeued and claimed again; every write of the first worker is rejected."""
    job_id = await alice.queue_job()
    dead = (await alice.claim_job()).claim
    await alice.set_job(job_id, lease_expires_at=LONG_AGO)
    async with alice.database.statement() as connection:
        assert await requeue_expired(connection, limit=10) == 1
    alive = (await alice.claim_job()).claim
    assert (alive.job_id, alive.attempt) == (job_id, dead.attempt + 1)

    before = await alice.read_everything()
    for move, _ in FENCED.values():
        assert await run(alice, move, dead) in NOTHING
    assert await alice.read_everything() == before

    assert await run(alice, FENCED["renew_claims"][0], alive) == {alive}
    assert await run(alice, FENCED["succeed"][0], alive) is not None
    after = await alice.read_everything()
    for move, _ in FENCED.values():
        assert await run(alice, move, dead) in NOTHING
        assert await run(alice, move, alive) in NOTHING
    assert await alice.read_everything() == after
    jobs, deliveries, _attempts, usage = after
    assert (len(jobs), len(deliveries), len(usage)) == (1, 1, 1)
    assert jobs[0]["queue"] == QUEUE
