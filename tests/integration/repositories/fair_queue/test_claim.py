"""Claiming jobs: the next one first, and each once."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from common.domain.job import Claim, JobState
from common.domain.record import InputImage
from common.postgres.models import Job
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.runtime.clock import utc_now
from tests.integration.repositories.support.tenant_rows import (
    FAR_AHEAD,
    HOOK,
    LEASE_SECONDS,
    LONG_AGO,
    QUEUE,
    REQUEST,
    TenantRows,
)


async def claim_all(alice: TenantRows, worker: str) -> list[int]:
    """Claim until no job is left; return the ids in order."""
    taken: list[int] = []
    async with alice.database.statement() as connection:
        while claimed := await claim_jobs(
            connection, queues=[QUEUE], worker=worker, lease_seconds=LEASE_SECONDS, limit=1
        ):
            taken += [job.record.id for job in claimed.jobs]
    return taken


async def test_a_claim_sets_state_attempt_and_lease(alice: TenantRows) -> None:
    job_id = await alice.queue_job()
    async with alice.database.statement() as connection:
        claimed = await claim_jobs(
            connection, queues=[QUEUE], worker="w7", lease_seconds=90.5, limit=1
        )
    (taken,) = claimed.jobs
    assert (taken.max_attempts, taken.suspect) == (3, False)
    job = taken.record
    assert (job.id, job.tenant_id, job.state, job.attempt) == (
        job_id,
        alice.tenant_id,
        JobState.RUNNING,
        1,
    )
    assert (job.request, job.webhook_url, job.track_id) == (REQUEST, HOOK, "order-9")
    assert job.inputs == {"init_image": InputImage(url="https://p.test/a.png")}
    assert job.result is None
    row = await alice.read_job(job_id)
    assert row["claimed_by"] == "w7"
    assert (row["lease_expires_at"] - row["started_at"]).total_seconds() == 90.5
    assert abs((row["started_at"] - utc_now()).total_seconds()) < 30


@pytest.mark.parametrize(
    ("columns", "detail"),
    [
        ({"request": {**REQUEST.to_json(), "tiling": True}}, "tiling"),
        ({"request": {**REQUEST.to_json(), "endpoint": "outpaint"}}, "outpaint"),
        ({"inputs": {"init_image": {"volume": "x"}}}, "volume"),
    ],
)
async def test_jobs_of_a_newer_release_are_returned_as_unreadable(
    alice: TenantRows, columns: dict[str, Any], detail: str
) -> None:
    job_id, readable = await alice.queue_job(columns=columns), await alice.queue_job()
    async with alice.database.statement() as connection:
        claimed = await claim_jobs(
            connection, queues=[QUEUE], worker="w1", lease_seconds=60, limit=2
        )
    assert [job.record.id for job in claimed.jobs] == [readable]
    ((claim, error),) = claimed.unreadable
    assert claim == Claim(job_id, 1)
    assert detail in error


async def test_no_job_is_claimed_from_an_empty_queue(alice: TenantRows) -> None:
    assert await claim_all(alice, "w1") == []


async def test_claims_are_by_priority_then_age(alice: TenantRows) -> None:
    low = await alice.queue_job(columns={"priority": -1})
    first, second = await alice.queue_job(), await alice.queue_job()
    high = await alice.queue_job(columns={"priority": 5})
    assert await claim_all(alice, "w1") == [high, first, second, low]


async def test_a_job_is_not_claimed_before_it_is_due(alice: TenantRows) -> None:
    await alice.queue_job(columns={"available_at": FAR_AHEAD})
    due = await alice.queue_job(columns={"available_at": LONG_AGO})
    assert await claim_all(alice, "w1") == [due]


async def test_only_jobs_of_the_given_queues_are_claimed(alice: TenantRows) -> None:
    await alice.queue_job(queue="sdxl-inpainting")
    assert await claim_all(alice, "w1") == []
    assert (await alice.claim_job("sdxl-inpainting")).queue == "sdxl-inpainting"


async def test_a_claim_skips_tenants_that_another_claim_has_locked(
    alice: TenantRows, bob: TenantRows
) -> None:
    first, theirs = await alice.queue_job(), await bob.queue_job()
    await alice.queue_job()
    async with alice.database.transaction() as connection:
        held = await claim_jobs(connection, queues=[QUEUE], worker="w1", lease_seconds=60, limit=1)
        assert [job.record.id for job in held.jobs] == [first]
        assert await claim_all(alice, "w2") == [theirs]


async def test_sixteen_concurrent_workers_claim_each_job_once(alice: TenantRows) -> None:
    jobs = [await alice.queue_job() for _ in range(200)]
    taken = await asyncio.gather(*(claim_all(alice, f"w{n}") for n in range(16)))
    counts = Counter(job_id for mine in taken for job_id in mine)
    assert counts == Counter(jobs)
    assert {row["attempt"] for row in await alice.read_rows(Job)} == {1}
