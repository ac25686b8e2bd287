"""Start-time fair queueing: which tenant is served next, and how much service each gets."""

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


async def set_share(alice: TenantRows, **columns: Any) -> None:
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
    """Claim `times` times; return the number of claimed jobs by tenant."""
    return Counter([job.tenant_id for _ in range(times) for job in await claim(alice, limit)])


async def queue_many(alice: TenantRows, number: int) -> None:
    """Insert `number` equal jobs in one statement."""
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


async def test_one_job_does_not_wait_behind_another_tenants_thousand(
    alice: TenantRows, bob: TenantRows
) -> None:
    await queue_many(alice, 1000)
    assert await serve(alice, 3) == {alice.tenant_id: 3}
    theirs = await bob.queue_job()
    assert [job.id for job in await claim(alice, 1)] == [theirs]


async def test_tenants_with_equal_weights_get_equal_service(
    alice: TenantRows, bob: TenantRows
) -> None:
    await queue_many(alice, 100)
    await queue_many(bob, 10)
    served = await serve(alice, 20)
    assert served == {alice.tenant_id: 10, bob.tenant_id: 10}


@pytest.mark.parametrize("at_once", [1, 3, 7])
async def test_service_is_proportional_to_weight(
    alice: TenantRows, bob: TenantRows, at_once: int
) -> None:
    third = await make_tenant(alice.database, "carol")
    for weight, one in enumerate((alice, bob, third)):
        await set_share(one, weight=2.0**weight)
        await queue_many(one, 700)
    served: Counter[int] = Counter()
    while served.total() < 700:
        served += await serve(alice, 1, at_once)
    for weight, one in enumerate((alice, bob, third)):
        assert served[one.tenant_id] == pytest.approx(2**weight * 100, abs=4)


async def test_service_is_measured_by_cost(alice: TenantRows, bob: TenantRows) -> None:
    """A tenant whose jobs cost four times as much gets a quarter as many."""
    for _ in range(10):
        await alice.queue_job(columns={"cost": 4 * COST})
    await queue_many(bob, 40)
    served = await serve(alice, 25)
    assert served == {alice.tenant_id: 5, bob.tenant_id: 20}


async def test_a_claim_is_filled_from_several_tenants(alice: TenantRows, bob: TenantRows) -> None:
    await queue_many(alice, 5)
    await queue_many(bob, 1)
    taken = Counter(job.tenant_id for job in await claim(alice, 3))
    assert taken == {alice.tenant_id: 2, bob.tenant_id: 1}
    assert {job.tenant_id for job in await claim(alice, 9)} == {alice.tenant_id}


async def test_a_single_tenant_can_fill_a_claim(alice: TenantRows) -> None:
    await queue_many(alice, 10)
    assert len(await claim(alice, 8)) == 8


async def test_a_skipped_tenant_falls_behind_by_one_job_at_most(
    alice: TenantRows, bob: TenantRows
) -> None:
    await queue_many(alice, 10)
    await queue_many(bob, 10)
    async with alice.database.transaction() as other_claim:
        await other_claim.execute(
            select(TenantQueue).where(TenantQueue.tenant_id == bob.tenant_id).with_for_update()
        )
        # One while both are equal, and one that puts it a job ahead; then it has to wait.
        assert [job.tenant_id for job in await claim(alice, 8)] == [alice.tenant_id] * 2
        assert await claim(alice, 8) == []
    assert {job.tenant_id for job in await claim(alice, 2)} == {bob.tenant_id}


async def test_idle_time_earns_no_credit(alice: TenantRows, bob: TenantRows) -> None:
    await bob.queue_job()
    await claim(alice, 1)
    await queue_many(alice, 50)
    await serve(alice, 20)
    await queue_many(bob, 50)
    served = await serve(alice, 20)
    assert abs(served[alice.tenant_id] - served[bob.tenant_id]) <= 2


async def test_of_equals_the_one_served_longest_ago_is_next(
    alice: TenantRows, bob: TenantRows
) -> None:
    await queue_many(alice, 4)
    await serve(alice, 2)
    newcomer = await bob.queue_job()
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(virtual_time=2 * COST))
    assert [job.id for job in await claim(alice, 1)] == [newcomer]


async def test_a_newcomer_is_next_despite_rounding_errors(
    alice: TenantRows, bob: TenantRows
) -> None:
    """Sums of 7.864 are rounded; tenants with equal service must still have equal tags."""
    for one in (alice, bob):
        for _ in range(12):
            await one.queue_job(columns={"cost": 7.864})
    for number in range(12):
        await serve(alice, 2)
        newcomer = await make_tenant(alice.database, f"newcomer-{number}")
        job_id = await newcomer.queue_job(columns={"cost": 7.864})
        assert [job.id for job in await claim(alice, 1)] == [job_id]


async def test_a_claim_updates_the_counters_of_its_tenant(alice: TenantRows) -> None:
    await set_share(alice, weight=2.0)
    await queue_many(alice, 3)
    await claim(alice, 2)
    row = await queue_of(alice)
    assert (row["running"], row["virtual_time"], row["start_tag"]) == (2, COST, COST / 2)
    assert row["has_ready"]
    await claim(alice, 2)
    row = await queue_of(alice)
    assert (row["running"], row["has_ready"]) == (3, False)


async def test_each_claim_lowers_the_backlog(alice: TenantRows) -> None:
    await queue_many(alice, 3)
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(backlog=1.5 * COST))
    await claim(alice, 1)
    assert (await queue_of(alice))["backlog"] == pytest.approx(COST / 2)
    await claim(alice, 1)
    assert (await queue_of(alice))["backlog"] == 0


@pytest.mark.parametrize("limit", ["max_running", "max_running_per_queue"])
async def test_a_limit_of_running_jobs_holds(
    alice: TenantRows, bob: TenantRows, limit: str
) -> None:
    await set_share(alice, **{limit: 2})
    await queue_many(alice, 5)
    await queue_many(bob, 5)
    assert (await serve(alice, 3, 9))[alice.tenant_id] == 2
    assert await claim(alice, 9) == []


async def test_the_tenants_own_limit_counts_all_its_queues(alice: TenantRows) -> None:
    await set_share(alice, max_running=3, max_running_per_queue=2)
    for _ in range(4):
        await alice.queue_job()
        await alice.queue_job(queue=OTHER_QUEUE)
    taken = [job.queue for _ in range(5) for job in await claim(alice, 9, QUEUE, OTHER_QUEUE)]
    assert Counter(taken) == {QUEUE: 2, OTHER_QUEUE: 1}


async def test_a_closed_share_is_not_served(alice: TenantRows, bob: TenantRows) -> None:
    await alice.queue_job()
    theirs = await bob.queue_job()
    await set_share(alice, closed=True)
    assert [job.id for _ in range(2) for job in await claim(alice, 9)] == [theirs]
    await set_share(alice, closed=False)
    assert len(await claim(alice, 9)) == 1


async def test_a_tenant_without_due_jobs_is_skipped(alice: TenantRows, bob: TenantRows) -> None:
    later = await alice.queue_job()
    async with alice.database.statement() as connection:
        await connection.execute(
            text("UPDATE jobs SET available_at = :at WHERE id = :id"),
            {"at": FAR_AHEAD, "id": later},
        )
    theirs = await bob.queue_job()
    assert [job.id for job in await claim(alice, 1)] == [theirs]
    assert not (await queue_of(alice))["has_ready"]


async def test_jobs_come_from_the_first_queue_that_has_any(alice: TenantRows) -> None:
    await alice.queue_job(queue=OTHER_QUEUE)
    await alice.queue_job()
    asked = ("empty", OTHER_QUEUE, QUEUE)
    taken = [[job.queue for job in await claim(alice, 9, *asked)] for _ in range(3)]
    assert taken == [[OTHER_QUEUE], [QUEUE], []]


async def test_a_suspect_is_claimed_alone(alice: TenantRows) -> None:
    first = await alice.queue_job()
    suspect = await alice.queue_job(columns={"suspect": True})
    last = await alice.queue_job()
    taken = [[job.id for job in await claim(alice, 9)] for _ in range(3)]
    assert taken == [[first], [suspect], [last]]


async def test_a_recheck_finds_a_job_committed_during_a_claim(alice: TenantRows) -> None:
    """A claim reads the snapshot of its start; it rechecks a tenant that has no more jobs."""
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


async def test_a_claim_takes_no_more_of_a_tenant_than_it_allows(alice: TenantRows) -> None:
    """And more of the others; a tenant that may not be served holds nobody back."""
    bob = await make_tenant(alice.database, "bob")
    for tenant in (alice, bob):
        await queue_many(tenant, 6)

    async def claim_within(limits: Mapping[int, int]) -> Counter[int]:
        async with alice.database.direct() as connection:
            claimed = await claim_jobs(
                connection,
                queues=[QUEUE],
                worker="w",
                lease_seconds=60,
                limit=4,
                tenant_limits=limits,
            )
        return Counter(job.record.tenant_id for job in claimed.jobs)

    assert await claim_within({alice.tenant_id: 1}) == {alice.tenant_id: 1, bob.tenant_id: 3}
    assert await claim_within({alice.tenant_id: 0}) == {bob.tenant_id: 3}
    assert not await claim_within({alice.tenant_id: 0})
    assert await claim_within({}) == {alice.tenant_id: 4}
