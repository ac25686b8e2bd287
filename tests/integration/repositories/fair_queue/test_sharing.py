"""Sharing the GPUs: who is served next, and by how much."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select, text, update

from common.domain.record import JobRecord
from common.postgres.models import TenantQueue, TenantShare
from common.postgres.repositories.fair_queue.claim import claim_jobs
from tests.integration.repositories.conftest import make_tenant
from tests.integration.repositories.support.tenant_rows import FAR_AHEAD, QUEUE, REQUEST, TenantRows

COST = REQUEST.cost
OTHER_QUEUE = "sdxl-inpainting"


async def claim(alice: TenantRows, limit: int, *queues: str) -> list[JobRecord]:
    async with alice.database.direct() as connection:
        claimed = await claim_jobs(
            connection, queues=queues or [QUEUE], worker="w", lease_seconds=60, limit=limit
        )
    return [job.record for job in claimed.jobs]


async def give(alice: TenantRows, **columns: Any) -> None:
    """Set columns of the tenant's share."""
    async with alice.database.statement() as connection:
        await connection.execute(
            update(TenantShare).where(TenantShare.tenant_id == alice.tenant_id).values(**columns)
        )


async def queue_of(alice: TenantRows, queue: str = QUEUE) -> Mapping[str, Any]:
    return next(
        row
        for row in await alice.read_rows(TenantQueue)
        if (row["tenant_id"], row["queue"]) == (alice.tenant_id, queue)
    )


async def serve(alice: TenantRows, times: int, limit: int = 1) -> Counter[int]:
    """Claim so often; give how many jobs of which tenant were taken."""
    return Counter([job.tenant_id for _ in range(times) for job in await claim(alice, limit)])


async def many_queued(alice: TenantRows, number: int) -> None:
    """Copy one job so often, by Postgres itself."""
    job_id = await alice.queue_job(idempotency_key=None)
    async with alice.database.statement() as connection:
        await connection.execute(
            text(
                "INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs,"
                " base64, cost) SELECT tenant_id, gen_random_uuid(), queue, max_attempts, request,"
                " inputs, base64, cost FROM jobs, generate_series(2, :number) WHERE id = :job_id"
            ),
            {"number": number, "job_id": job_id},
        )


async def test_one_job_does_not_wait_behind_a_thousand(alice: TenantRows, bob: TenantRows) -> None:
    await many_queued(alice, 1000)
    assert await serve(alice, 3) == {alice.tenant_id: 3}
    theirs = await bob.queue_job()
    assert [job.id for job in await claim(alice, 1)] == [theirs]


async def test_tenants_with_equal_weights_are_served_in_turn(
    alice: TenantRows, bob: TenantRows
) -> None:
    await many_queued(alice, 100)
    await many_queued(bob, 10)
    served = await serve(alice, 20)
    assert served == {alice.tenant_id: 10, bob.tenant_id: 10}


@pytest.mark.parametrize("at_once", [1, 3, 7])
async def test_weights_one_two_four_give_service_one_two_four(
    alice: TenantRows, bob: TenantRows, at_once: int
) -> None:
    third = await make_tenant(alice.database, "carol")
    for weight, one in enumerate((alice, bob, third)):
        await give(one, weight=2.0**weight)
        await many_queued(one, 700)
    served: Counter[int] = Counter()
    while served.total() < 700:
        served += await serve(alice, 1, at_once)
    for weight, one in enumerate((alice, bob, third)):
        assert served[one.tenant_id] == pytest.approx(2**weight * 100, abs=4)


async def test_service_is_measured_by_cost(alice: TenantRows, bob: TenantRows) -> None:
    """A tenant whose jobs cost four times as much gets a quarter as many."""
    for _ in range(10):
        await alice.queue_job(columns={"cost": 4 * COST})
    await many_queued(bob, 40)
    served = await serve(alice, 25)
    assert served == {alice.tenant_id: 5, bob.tenant_id: 20}


async def test_a_claim_takes_as_many_as_it_may_across_tenants(
    alice: TenantRows, bob: TenantRows
) -> None:
    await many_queued(alice, 5)
    await many_queued(bob, 1)
    taken = Counter(job.tenant_id for job in await claim(alice, 3))
    assert taken == {alice.tenant_id: 2, bob.tenant_id: 1}
    assert {job.tenant_id for job in await claim(alice, 9)} == {alice.tenant_id}


async def test_a_tenant_alone_is_given_all_places_at_once(alice: TenantRows) -> None:
    await many_queued(alice, 10)
    assert len(await claim(alice, 8)) == 8


async def test_a_tenant_passed_over_is_overtaken_by_one_job_at_most(
    alice: TenantRows, bob: TenantRows
) -> None:
    await many_queued(alice, 10)
    await many_queued(bob, 10)
    async with alice.database.transaction() as other_claim:
        await other_claim.execute(
            select(TenantQueue).where(TenantQueue.tenant_id == bob.tenant_id).with_for_update()
        )
        # One while both are equal, and one that puts it a job ahead; then it has to wait.
        assert [job.tenant_id for job in await claim(alice, 8)] == [alice.tenant_id] * 2
        assert await claim(alice, 8) == []
    assert {job.tenant_id for job in await claim(alice, 2)} == {bob.tenant_id}


async def test_a_tenant_that_comes_back_has_saved_nothing_up(
    alice: TenantRows, bob: TenantRows
) -> None:
    await bob.queue_job()
    await claim(alice, 1)
    await many_queued(alice, 50)
    await serve(alice, 20)
    await many_queued(bob, 50)
    served = await serve(alice, 20)
    assert abs(served[alice.tenant_id] - served[bob.tenant_id]) <= 2


async def test_of_equals_the_one_served_longest_ago_is_next(
    alice: TenantRows, bob: TenantRows
) -> None:
    await many_queued(alice, 4)
    await serve(alice, 2)
    newcomer = await bob.queue_job()
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(virtual_time=2 * COST))
    assert [job.id for job in await claim(alice, 1)] == [newcomer]


async def test_a_newcomer_is_next_whatever_the_costs_add_up_to(
    alice: TenantRows, bob: TenantRows
) -> None:
    """Sums of 7.864 are no round numbers; all who are served alike are ahead by the same."""
    for one in (alice, bob):
        for _ in range(12):
            await one.queue_job(columns={"cost": 7.864})
    for number in range(12):
        await serve(alice, 2)
        newcomer = await make_tenant(alice.database, f"newcomer-{number}")
        job_id = await newcomer.queue_job(columns={"cost": 7.864})
        assert [job.id for job in await claim(alice, 1)] == [job_id]


async def test_the_books_say_what_was_served(alice: TenantRows) -> None:
    await give(alice, weight=2.0)
    await many_queued(alice, 3)
    await claim(alice, 2)
    row = await queue_of(alice)
    assert (row["running"], row["virtual_time"], row["start_tag"]) == (2, COST, COST / 2)
    assert row["has_ready"]
    await claim(alice, 2)
    row = await queue_of(alice)
    assert (row["running"], row["has_ready"]) == (3, False)


async def test_the_backlog_goes_down_with_each_claim(alice: TenantRows) -> None:
    await many_queued(alice, 3)
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(backlog=1.5 * COST))
    await claim(alice, 1)
    assert (await queue_of(alice))["backlog"] == pytest.approx(COST / 2)
    await claim(alice, 1)
    assert (await queue_of(alice))["backlog"] == 0


@pytest.mark.parametrize("limit", ["max_running", "max_running_per_queue"])
async def test_a_tenant_has_no_more_jobs_at_work_than_it_may(
    alice: TenantRows, bob: TenantRows, limit: str
) -> None:
    await give(alice, **{limit: 2})
    await many_queued(alice, 5)
    await many_queued(bob, 5)
    assert (await serve(alice, 3, 9))[alice.tenant_id] == 2
    assert await claim(alice, 9) == []


async def test_the_tenants_own_limit_counts_all_its_queues(alice: TenantRows) -> None:
    await give(alice, max_running=3, max_running_per_queue=2)
    for _ in range(4):
        await alice.queue_job()
        await alice.queue_job(queue=OTHER_QUEUE)
    taken = [job.queue for _ in range(5) for job in await claim(alice, 9, QUEUE, OTHER_QUEUE)]
    assert Counter(taken) == {QUEUE: 2, OTHER_QUEUE: 1}


async def test_a_closed_share_is_not_served(alice: TenantRows, bob: TenantRows) -> None:
    await alice.queue_job()
    theirs = await bob.queue_job()
    await give(alice, closed=True)
    assert [job.id for _ in range(2) for job in await claim(alice, 9)] == [theirs]
    await give(alice, closed=False)
    assert len(await claim(alice, 9)) == 1


async def test_a_tenant_whose_jobs_wait_for_their_time_is_passed_over(
    alice: TenantRows, bob: TenantRows
) -> None:
    later = await alice.queue_job()
    async with alice.database.statement() as connection:
        await connection.execute(
            text("UPDATE jobs SET available_at = :at WHERE id = :id"),
            {"at": FAR_AHEAD, "id": later},
        )
    theirs = await bob.queue_job()
    assert [job.id for job in await claim(alice, 1)] == [theirs]
    assert not (await queue_of(alice))["has_ready"]


async def test_the_first_queue_that_has_work_is_taken_from(alice: TenantRows) -> None:
    await alice.queue_job(queue=OTHER_QUEUE)
    await alice.queue_job()
    asked = ("empty", OTHER_QUEUE, QUEUE)
    taken = [[job.queue for job in await claim(alice, 9, *asked)] for _ in range(3)]
    assert taken == [[OTHER_QUEUE], [QUEUE], []]


async def test_a_suspect_is_taken_alone(alice: TenantRows) -> None:
    first = await alice.queue_job()
    suspect = await alice.queue_job(columns={"suspect": True})
    last = await alice.queue_job()
    taken = [[job.id for job in await claim(alice, 9)] for _ in range(3)]
    assert taken == [[first], [suspect], [last]]


async def test_a_submit_that_crosses_the_last_claim_is_seen(alice: TenantRows) -> None:
    """What a claim sees is what was there when it began; it looks again when it found the end."""
    await alice.queue_job()
    async with (
        alice.database.transaction() as recording,
        alice.database.direct() as connection,
    ):
        await recording.execute(
            text(
                "INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs,"
                " base64, cost) SELECT tenant_id, gen_random_uuid(), queue, max_attempts, request,"
                " inputs, base64, cost FROM jobs"
            )
        )

        async def crossing(statement: Any, parameters: Any) -> Any:
            rows = await original(statement, parameters)
            if recording.in_transaction():
                await recording.commit()
            return rows

        original, connection.execute = connection.execute, crossing  # type: ignore[method-assign] # the moment between two statements
        await claim_jobs(connection, queues=[QUEUE], worker="w", lease_seconds=60, limit=5)
    assert (await queue_of(alice))["has_ready"]
    assert len(await claim(alice, 5)) == 1
