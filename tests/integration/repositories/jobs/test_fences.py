"""Every verb that moves a job, against every state its row can be in."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import Claim, JobState
from common.postgres.repositories.jobs.finish import cancel, fail, succeed
from common.postgres.repositories.jobs.leases import release_claim, renew_claims, retry_later
from common.postgres.repositories.maintenance.expire import fail_abandoned, fail_overdue
from common.postgres.repositories.maintenance.requeue import requeue_expired
from tests.integration.repositories.support.counters import LONG_AGO, QUEUE, RESULT, Books

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


async def run(books: Books, move: Move, claim: Claim) -> object:
    async with books.database.statement() as connection:
        return await move(connection, claim)


@pytest.mark.parametrize("verb", FENCED)
async def test_only_the_holder_of_a_running_job_moves_it(books: Books, verb: str) -> None:
    move, target = FENCED[verb]
    for state in JobState:
        claim = await books.job_in(state)
        for attempt in (0, claim.attempt - 1, claim.attempt, claim.attempt + 1):
            held = state is JobState.RUNNING and attempt == claim.attempt
            before = await books.everything()
            answer = await run(books, move, replace(claim, attempt=attempt))
            assert (answer not in NOTHING) == held, (state, attempt, answer)
            if held:
                assert (await books.job(claim.job_id))["state"] is target
                break
            assert await books.everything() == before, (state, attempt)


@pytest.mark.parametrize("verb", FENCED)
async def test_no_verb_moves_a_job_that_is_not_there(books: Books, verb: str) -> None:
    await books.job_in(JobState.RUNNING)
    before = await books.everything()
    assert await run(books, FENCED[verb][0], Claim(987_654, 2)) in NOTHING
    assert await books.everything() == before


@pytest.mark.parametrize("state", JobState)
async def test_a_job_is_canceled_before_its_end_only(books: Books, state: JobState) -> None:
    claim = await books.job_in(state)
    before = await books.everything()
    async with books.database.statement() as connection:
        ended = await cancel(connection, tenant_id=books.tenant_id, job_id=claim.job_id)
    if state in {JobState.QUEUED, JobState.RUNNING}:
        assert ended is not None
        assert (await books.job(claim.job_id))["state"] is JobState.CANCELED
    else:
        assert ended is None
        assert await books.everything() == before


@pytest.mark.parametrize("state", JobState)
async def test_the_sweeper_touches_running_jobs_only(books: Books, state: JobState) -> None:
    """Its two verbs share the jobs whose lease ran out: some go back, the rest have failed."""
    lease = {"lease_expires_at": LONG_AGO} if state is JobState.RUNNING else {}
    left = await books.job_in(state, max_attempts=3, **lease)
    used_up = await books.job_in(state, max_attempts=2, **lease)
    before = await books.everything()
    async with books.database.statement() as connection:
        requeued = await requeue_expired(connection, limit=10)
        failed = await fail_abandoned(connection, limit=10)
    if state is JobState.RUNNING:
        assert (requeued, [ended.job_id for ended in failed]) == (1, [used_up.job_id])
        row = await books.job(left.job_id)
        assert (row["state"], row["suspect"]) == (JobState.QUEUED, True)
        assert (await books.job(used_up.job_id))["state"] is JobState.FAILED
    else:
        assert (requeued, failed) == (0, [])
        assert await books.everything() == before


@pytest.mark.parametrize("state", JobState)
async def test_only_waiting_jobs_wait_too_long(books: Books, state: JobState) -> None:
    claim = await books.job_in(state, created_at=LONG_AGO)
    before = await books.everything()
    async with books.database.statement() as connection:
        failed = await fail_overdue(connection, max_queue_seconds=1.0, limit=10)
    if state is JobState.QUEUED:
        assert [ended.job_id for ended in failed] == [claim.job_id]
    else:
        assert failed == []
        assert await books.everything() == before


async def test_a_worker_given_up_for_dead_changes_nothing(books: Books) -> None:
    """Claimed, lost, claimed again: the first worker comes back and finds every door shut."""
    job_id = await books.queued()
    dead = (await books.claim()).claim
    await books.set_job(job_id, lease_expires_at=LONG_AGO)
    async with books.database.statement() as connection:
        assert await requeue_expired(connection, limit=10) == 1
    alive = (await books.claim()).claim
    assert (alive.job_id, alive.attempt) == (job_id, dead.attempt + 1)

    before = await books.everything()
    for move, _ in FENCED.values():
        assert await run(books, move, dead) in NOTHING
    assert await books.everything() == before

    assert await run(books, FENCED["renew_claims"][0], alive) == {alive}
    assert await run(books, FENCED["succeed"][0], alive) is not None
    after = await books.everything()
    for move, _ in FENCED.values():
        assert await run(books, move, dead) in NOTHING
        assert await run(books, move, alive) in NOTHING
    assert await books.everything() == after
    jobs, deliveries, _attempts, usage = after
    assert (len(jobs), len(deliveries), len(usage)) == (1, 1, 1)
    assert jobs[0]["queue"] == QUEUE
