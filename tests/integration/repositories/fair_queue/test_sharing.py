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
from tests.integration.repositories.support.counters import FAR_AHEAD, QUEUE, REQUEST, Books

COST = REQUEST.cost
OTHER_QUEUE = "sdxl-inpainting"


async def claim(books: Books, limit: int, *queues: str) -> list[JobRecord]:
    async with books.database.direct() as connection:
        claimed = await claim_jobs(
            connection, queues=queues or [QUEUE], worker="w", lease_seconds=60, limit=limit
        )
    return [job.record for job in claimed.jobs]


async def give(books: Books, **columns: Any) -> None:
    """Set columns of the tenant's share."""
    async with books.database.statement() as connection:
        await connection.execute(
            update(TenantShare).where(TenantShare.tenant_id == books.tenant_id).values(**columns)
        )


async def queue_of(books: Books, queue: str = QUEUE) -> Mapping[str, Any]:
    return next(
        row
        for row in await books.rows(TenantQueue)
        if (row["tenant_id"], row["queue"]) == (books.tenant_id, queue)
    )


async def serve(books: Books, times: int, limit: int = 1) -> Counter[int]:
    """Claim so often; give how many jobs of which tenant were taken."""
    return Counter([job.tenant_id for _ in range(times) for job in await claim(books, limit)])


async def many_queued(books: Books, number: int) -> None:
    """Copy one job so often, by Postgres itself."""
    job_id = await books.queued(idempotency_key=None)
    async with books.database.statement() as connection:
        await connection.execute(
            text(
                "INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs,"
                " base64, cost) SELECT tenant_id, gen_random_uuid(), queue, max_attempts, request,"
                " inputs, base64, cost FROM jobs, generate_series(2, :number) WHERE id = :job_id"
            ),
            {"number": number, "job_id": job_id},
        )


async def test_one_job_does_not_wait_behind_a_thousand(books: Books, other_books: Books) -> None:
    await many_queued(books, 1000)
    assert await serve(books, 3) == {books.tenant_id: 3}
    theirs = await other_books.queued()
    assert [job.id for job in await claim(books, 1)] == [theirs]


async def test_tenants_with_equal_weights_are_served_in_turn(
    books: Books, other_books: Books
) -> None:
    await many_queued(books, 100)
    await many_queued(other_books, 10)
    served = await serve(books, 20)
    assert served == {books.tenant_id: 10, other_books.tenant_id: 10}


@pytest.mark.parametrize("at_once", [1, 3, 7])
async def test_weights_one_two_four_give_service_one_two_four(
    books: Books, other_books: Books, at_once: int
) -> None:
    third = await make_tenant(books.database, "carol")
    for weight, one in enumerate((books, other_books, third)):
        await give(one, weight=2.0**weight)
        await many_queued(one, 700)
    served: Counter[int] = Counter()
    while served.total() < 700:
        served += await serve(books, 1, at_once)
    for weight, one in enumerate((books, other_books, third)):
        assert served[one.tenant_id] == pytest.approx(2**weight * 100, abs=4)


async def test_service_is_measured_by_cost(books: Books, other_books: Books) -> None:
    """A tenant whose jobs cost four times as much gets a quarter as many."""
    for _ in range(10):
        await books.queued(columns={"cost": 4 * COST})
    await many_queued(other_books, 40)
    served = await serve(books, 25)
    assert served == {books.tenant_id: 5, other_books.tenant_id: 20}


async def test_a_claim_takes_as_many_as_it_may_across_tenants(
    books: Books, other_books: Books
) -> None:
    await many_queued(books, 5)
    await many_queued(other_books, 1)
    taken = Counter(job.tenant_id for job in await claim(books, 3))
    assert taken == {books.tenant_id: 2, other_books.tenant_id: 1}
    assert {job.tenant_id for job in await claim(books, 9)} == {books.tenant_id}


async def test_a_tenant_alone_is_given_all_places_at_once(books: Books) -> None:
    await many_queued(books, 10)
    assert len(await claim(books, 8)) == 8


async def test_a_tenant_passed_over_is_overtaken_by_one_job_at_most(
    books: Books, other_books: Books
) -> None:
    await many_queued(books, 10)
    await many_queued(other_books, 10)
    async with books.database.transaction() as other_claim:
        await other_claim.execute(
            select(TenantQueue)
            .where(TenantQueue.tenant_id == other_books.tenant_id)
            .with_for_update()
        )
        # One while both are equal, and one that puts it a job ahead; then it has to wait.
        assert [job.tenant_id for job in await claim(books, 8)] == [books.tenant_id] * 2
        assert await claim(books, 8) == []
    assert {job.tenant_id for job in await claim(books, 2)} == {other_books.tenant_id}


async def test_a_tenant_that_comes_back_has_saved_nothing_up(
    books: Books, other_books: Books
) -> None:
    await other_books.queued()
    await claim(books, 1)
    await many_queued(books, 50)
    await serve(books, 20)
    await many_queued(other_books, 50)
    served = await serve(books, 20)
    assert abs(served[books.tenant_id] - served[other_books.tenant_id]) <= 2


async def test_of_equals_the_one_served_longest_ago_is_next(
    books: Books, other_books: Books
) -> None:
    await many_queued(books, 4)
    await serve(books, 2)
    newcomer = await other_books.queued()
    async with books.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(virtual_time=2 * COST))
    assert [job.id for job in await claim(books, 1)] == [newcomer]


async def test_a_newcomer_is_next_whatever_the_costs_add_up_to(
    books: Books, other_books: Books
) -> None:
    """Sums of 7.864 are no round numbers; all who are served alike are ahead by the same."""
    for one in (books, other_books):
        for _ in range(12):
            await one.queued(columns={"cost": 7.864})
    for number in range(12):
        await serve(books, 2)
        newcomer = await make_tenant(books.database, f"newcomer-{number}")
        job_id = await newcomer.queued(columns={"cost": 7.864})
        assert [job.id for job in await claim(books, 1)] == [job_id]


async def test_the_books_say_what_was_served(books: Books) -> None:
    await give(books, weight=2.0)
    await many_queued(books, 3)
    await claim(books, 2)
    row = await queue_of(books)
    assert (row["running"], row["virtual_time"], row["start_tag"]) == (2, COST, COST / 2)
    assert row["has_ready"]
    await claim(books, 2)
    row = await queue_of(books)
    assert (row["running"], row["has_ready"]) == (3, False)


async def test_the_backlog_goes_down_with_each_claim(books: Books) -> None:
    await many_queued(books, 3)
    async with books.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(backlog=1.5 * COST))
    await claim(books, 1)
    assert (await queue_of(books))["backlog"] == pytest.approx(COST / 2)
    await claim(books, 1)
    assert (await queue_of(books))["backlog"] == 0


@pytest.mark.parametrize("limit", ["max_running", "max_running_per_queue"])
async def test_a_tenant_has_no_more_jobs_at_work_than_it_may(
    books: Books, other_books: Books, limit: str
) -> None:
    await give(books, **{limit: 2})
    await many_queued(books, 5)
    await many_queued(other_books, 5)
    assert (await serve(books, 3, 9))[books.tenant_id] == 2
    assert await claim(books, 9) == []


async def test_the_tenants_own_limit_counts_all_its_queues(books: Books) -> None:
    await give(books, max_running=3, max_running_per_queue=2)
    for _ in range(4):
        await books.queued()
        await books.queued(queue=OTHER_QUEUE)
    taken = [job.queue for _ in range(5) for job in await claim(books, 9, QUEUE, OTHER_QUEUE)]
    assert Counter(taken) == {QUEUE: 2, OTHER_QUEUE: 1}


async def test_a_closed_share_is_not_served(books: Books, other_books: Books) -> None:
    await books.queued()
    theirs = await other_books.queued()
    await give(books, closed=True)
    assert [job.id for _ in range(2) for job in await claim(books, 9)] == [theirs]
    await give(books, closed=False)
    assert len(await claim(books, 9)) == 1


async def test_a_tenant_whose_jobs_wait_for_their_time_is_passed_over(
    books: Books, other_books: Books
) -> None:
    later = await books.queued()
    async with books.database.statement() as connection:
        await connection.execute(
            text("UPDATE jobs SET available_at = :at WHERE id = :id"),
            {"at": FAR_AHEAD, "id": later},
        )
    theirs = await other_books.queued()
    assert [job.id for job in await claim(books, 1)] == [theirs]
    assert not (await queue_of(books))["has_ready"]


async def test_the_first_queue_that_has_work_is_taken_from(books: Books) -> None:
    await books.queued(queue=OTHER_QUEUE)
    await books.queued()
    asked = ("empty", OTHER_QUEUE, QUEUE)
    taken = [[job.queue for job in await claim(books, 9, *asked)] for _ in range(3)]
    assert taken == [[OTHER_QUEUE], [QUEUE], []]


async def test_a_suspect_is_taken_alone(books: Books) -> None:
    first = await books.queued()
    suspect = await books.queued(columns={"suspect": True})
    last = await books.queued()
    taken = [[job.id for job in await claim(books, 9)] for _ in range(3)]
    assert taken == [[first], [suspect], [last]]


async def test_a_submit_that_crosses_the_last_claim_is_seen(books: Books) -> None:
    """What a claim sees is what was there when it began; it looks again when it found the end."""
    await books.queued()
    async with (
        books.database.transaction() as recording,
        books.database.direct() as connection,
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
    assert (await queue_of(books))["has_ready"]
    assert len(await claim(books, 5)) == 1
