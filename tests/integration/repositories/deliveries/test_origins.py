"""Tenant origins: concurrency limits, fair order between tenants, and circuit breakers."""

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import insert

from common.domain.delivery import DeliveryClaim, DeliveryState
from common.domain.job import JobState
from common.postgres.models import Delivery, TenantOrigin
from common.postgres.repositories.deliveries.claim import DueDelivery
from common.postgres.repositories.deliveries.origins import (
    mark_due_dispatches,
    recheck_all_origins,
    recheck_origins,
)
from common.postgres.repositories.deliveries.record import DeliveryResult
from common.postgres.repositories.deliveries.recount import delete_idle_origins, recount_sending
from common.postgres.repositories.maintenance.requeue import requeue_expired_deliveries
from tests.integration.repositories.support.tenant_rows import (
    HOOK,
    LOG,
    LONG_AGO,
    PER_ORIGIN,
    RULES,
    TenantRows,
)
from worker.maintenance.sweeper import maintain_origins

ORIGIN = "https://caller.test"
NEVER, AT_ANY_TIME = "infinity", "-infinity"
DELIVERED, PENDING = DeliveryState.DELIVERED, DeliveryState.PENDING


def to_success(due: DueDelivery) -> DeliveryResult:
    return DeliveryResult(due.claim, DELIVERED, LOG, is_healthy=True)


def to_failure(due: DueDelivery, wait_seconds: float = 0.0) -> DeliveryResult:
    return DeliveryResult(due.claim, PENDING, LOG, wait_seconds=wait_seconds, is_healthy=False)


async def maintain(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        await maintain_origins(connection, per_origin=PER_ORIGIN)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Caller.Test/hook?a=1", "https://caller.test"),
        ("https://caller.test:443/", "https://caller.test"),
        ("http://caller.test:80", "http://caller.test"),
        ("http://caller.test.:80?x", "http://caller.test"),
        ("http://caller.test:443/", "http://caller.test:443"),
        ("HTTPS://caller.test.:8443/#x", "https://caller.test:8443"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443"),
        ("https://caller.test:8080/a:80", "https://caller.test:8080"),
    ],
)
async def test_a_delivery_gets_the_origin_of_its_url(
    alice: TenantRows, url: str, origin: str
) -> None:
    (made,) = await alice.add_pending(url)
    assert (await alice.read_delivery(made))["origin"] == origin
    assert (await alice.read_origin(origin))["held_until"] == AT_ANY_TIME


async def test_an_origin_has_a_limit_of_concurrent_attempts(alice: TenantRows) -> None:
    await alice.add_pending(number=5)
    first = (await alice.claim_deliveries(per_origin=2)).deliveries
    assert len(first) == 2
    full = await alice.claim_deliveries(per_origin=2)
    assert (full.deliveries, full.has_more) == ([], False)
    assert (await alice.read_origin(ORIGIN))["held_until"] == NEVER
    assert await alice.record_attempts(to_success(first[0]))
    assert len((await alice.claim_deliveries()).deliveries) == 3
    assert (await alice.read_origin(ORIGIN))["sending"] == 4


async def test_a_lowered_limit_applies_at_once(alice: TenantRows) -> None:
    await alice.add_pending(number=5)
    assert len((await alice.claim_deliveries(limit=4)).deliveries) == 4
    await alice.execute("UPDATE tenant_dispatches SET has_due = true")
    assert (await alice.claim_deliveries(per_origin=2)).deliveries == []
    async with alice.database.statement() as connection:
        assert await recount_sending(connection, per_origin=10) == 1
        await recheck_all_origins(connection)
    assert len((await alice.claim_deliveries()).deliveries) == 1


async def test_a_tenant_with_many_origins_gets_one_share(
    alice: TenantRows, bob: TenantRows
) -> None:
    for number in range(12):
        await alice.add_pending(f"https://host-{number}.test/")
    await bob.add_pending(number=6)
    for _ in range(3):
        taken = (await alice.claim_deliveries(limit=4)).deliveries
        owners = Counter(due.job.tenant_id for due in taken)
        assert owners == {alice.tenant_id: 2, bob.tenant_id: 2}


async def test_of_two_tenants_the_one_served_longest_ago_is_next(
    alice: TenantRows, bob: TenantRows
) -> None:
    for each in (alice, bob):
        await each.add_pending(number=3)
    owners = [(await alice.claim_deliveries(limit=1)).deliveries[0].job.tenant_id for _ in range(6)]
    assert set(owners[:2]) == set(owners[2:4]) == set(owners[4:]) == set(owners)


async def test_each_origin_of_a_tenant_gets_an_equal_part(alice: TenantRows) -> None:
    await alice.add_pending(number=6, available_at=LONG_AGO)
    await alice.add_pending("https://other.test/", number=6)
    taken = (await alice.claim_deliveries(limit=4)).deliveries
    assert Counter(due.url for due in taken) == {HOOK: 2, "https://other.test/": 2}


async def test_given_tenants_are_skipped(alice: TenantRows, bob: TenantRows) -> None:
    for each in (alice, bob):
        await each.add_pending()
    due = await alice.claim_deliveries(skip_tenants=[alice.tenant_id])
    assert [taken.job.tenant_id for taken in due.deliveries] == [bob.tenant_id]
    assert not due.has_more


async def test_first_attempts_and_retries_are_claimed_separately(alice: TenantRows) -> None:
    (first,) = await alice.add_pending()
    retry = await alice.add_delivery(PENDING)
    assert [
        due.claim.delivery_id for due in (await alice.claim_deliveries(retries=True)).deliveries
    ] == [retry.delivery_id]
    assert [due.claim.delivery_id for due in (await alice.claim_deliveries()).deliveries] == [first]


async def test_a_retry_becomes_due_without_a_ring(alice: TenantRows) -> None:
    await alice.add_pending()
    (due,) = (await alice.claim_deliveries()).deliveries
    assert await alice.record_attempts(to_failure(due, wait_seconds=3600.0))
    assert (await alice.claim_deliveries(retries=True)).deliveries == []
    for table in ("deliveries SET available_at", "tenant_origins SET retry_due_at"):
        await alice.execute(f"UPDATE {table} = now()")
    await alice.execute("UPDATE tenant_dispatches SET due_at = now(), has_due = false")
    assert (await alice.claim_deliveries(retries=True)).deliveries == []
    async with alice.database.statement() as connection:
        assert await mark_due_dispatches(connection) == 2
    assert [
        again.claim.attempt for again in (await alice.claim_deliveries(retries=True)).deliveries
    ] == [2]


async def test_the_breaker_opens_at_ten_attempts_with_seven_failed(alice: TenantRows) -> None:
    await alice.add_pending(number=12)
    taken = (await alice.claim_deliveries()).deliveries
    await alice.record_attempts(*map(to_failure, taken[:6]))
    await alice.record_attempts(*map(to_success, taken[6:9]))
    row = await alice.read_origin(ORIGIN)
    assert (row["is_open"], row["requests"], row["failed"]) == (False, 9, 6)
    await alice.record_attempts(to_failure(taken[9]))
    assert (await alice.read_origin(ORIGIN))["is_open"]
    # Due first attempts and retries wait: they are delayed and their failures do not rise.
    assert await alice.claim_due_deliveries() == []
    rows = [await alice.read_delivery(due.claim.delivery_id) for due in taken]
    assert Counter(row["failures"] for row in rows) == {0: 3, 1: 7}


@pytest.mark.parametrize("failed", [6, 9])
async def test_the_breaker_stays_closed_below_either_threshold(
    alice: TenantRows, failed: int
) -> None:
    await alice.add_pending(number=12)
    taken = (await alice.claim_deliveries()).deliveries
    number = 10 if failed == 6 else 9
    await alice.record_attempts(
        *map(to_failure, taken[:failed]), *map(to_success, taken[failed:number])
    )
    assert not (await alice.read_origin(ORIGIN))["is_open"]
    assert len(await alice.claim_due_deliveries(limit=1)) == 1


async def test_attempts_before_the_window_do_not_count(alice: TenantRows) -> None:
    await alice.add_pending(number=10)
    taken = (await alice.claim_deliveries()).deliveries
    await alice.record_attempts(*map(to_success, taken[:5]))
    await alice.execute("UPDATE tenant_origins SET counted_since = now() - interval '301 s'")
    await alice.record_attempts(*map(to_failure, taken[5:]))
    row = await alice.read_origin(ORIGIN)
    assert (row["requests"], row["failed"], row["is_open"]) == (5, 5, False)


async def open_breaker(alice: TenantRows, number: int = 3) -> None:
    """Leave `number` deliveries pending behind a half-open breaker."""
    await alice.add_pending(number=number + 1)
    (due,) = (await alice.claim_deliveries(limit=1)).deliveries
    await alice.record_attempts(
        to_failure(due, wait_seconds=3600.0), rules=replace(RULES, min_requests=1)
    )
    assert (await alice.read_origin(ORIGIN))["is_open"]
    await alice.execute("UPDATE tenant_origins SET open_until = now(), held_until = now()")
    await alice.execute("UPDATE tenant_dispatches SET due_at = now()")
    async with alice.database.statement() as connection:
        await mark_due_dispatches(connection)


async def test_a_success_closes_a_half_open_breaker(alice: TenantRows) -> None:
    await open_breaker(alice)
    (probe,) = (await alice.claim_deliveries()).deliveries
    assert await alice.claim_due_deliveries() == []
    await alice.record_attempts(to_success(probe))
    row = await alice.read_origin(ORIGIN)
    assert (row["open_until"], row["held_until"], row["requests"]) == (
        AT_ANY_TIME,
        AT_ANY_TIME,
        0,
    )
    assert len((await alice.claim_deliveries()).deliveries) == 2


async def test_a_failure_opens_a_half_open_breaker_again(alice: TenantRows) -> None:
    await open_breaker(alice)
    (probe,) = (await alice.claim_deliveries()).deliveries
    await alice.record_attempts(to_failure(probe))
    assert (await alice.read_origin(ORIGIN))["is_open"]
    assert await alice.claim_due_deliveries() == []


async def test_a_lost_probe_is_repeated_after_its_lease(
    alice: TenantRows,
) -> None:
    await open_breaker(alice)
    assert len((await alice.claim_deliveries()).deliveries) == 1
    await alice.execute("UPDATE tenant_origins SET open_until = now(), held_until = now()")
    await alice.execute("UPDATE tenant_dispatches SET due_at = now()")
    async with alice.database.statement() as connection:
        await mark_due_dispatches(connection)
    assert len((await alice.claim_deliveries()).deliveries) == 1


@pytest.mark.parametrize("is_healthy", [True, None])
async def test_only_failures_of_the_receiver_open_the_breaker(
    alice: TenantRows, *, is_healthy: bool | None
) -> None:
    await alice.add_pending(number=10)
    taken = (await alice.claim_deliveries()).deliveries
    await alice.record_attempts(*(replace(to_failure(due), is_healthy=is_healthy) for due in taken))
    row = await alice.read_origin(ORIGIN)
    assert (row["is_open"], row["requests"]) == (False, 10 if is_healthy else 0)


async def test_a_recheck_finds_a_delivery_committed_during_a_claim(
    alice: TenantRows,
) -> None:
    await alice.add_pending()
    job = await alice.add_job(JobState.FAILED)
    async with alice.database.transaction() as connection:
        # Its origin has an earlier due time already, so the trigger does not update it.
        await connection.execute(
            insert(Delivery).values(
                job_id=job.job_id, tenant_id=alice.tenant_id, event="job.failed", url=HOOK
            )
        )
        due = await alice.claim_deliveries()
        assert len(due.deliveries) == 1
        assert due.origins_to_recheck == {(alice.tenant_id, ORIGIN)}
    assert (await alice.claim_deliveries()).deliveries == []
    async with alice.database.statement() as connection:
        assert await recheck_origins(connection, due.origins_to_recheck)
        assert not await recheck_origins(connection, due.origins_to_recheck)
    assert len((await alice.claim_deliveries()).deliveries) == 1


async def test_a_sweep_recounts_the_attempts_of_a_dead_dispatcher(alice: TenantRows) -> None:
    await alice.add_pending(number=3)
    await alice.claim_deliveries(per_origin=2)
    await alice.execute("UPDATE deliveries SET lease_expires_at = now() WHERE state = 'sending'")
    async with alice.database.statement() as connection:
        assert await requeue_expired_deliveries(connection, limit=9) == 2
    assert (await alice.read_origin(ORIGIN))["sending"] == 2
    await maintain(alice)
    row = await alice.read_origin(ORIGIN)
    assert (row["sending"], row["held_until"]) == (0, AT_ANY_TIME)
    assert len(await alice.claim_due_deliveries()) == 3


async def test_an_idle_origin_is_deleted(alice: TenantRows) -> None:
    await alice.add_pending()
    (due,) = await alice.claim_due_deliveries()
    await alice.execute("UPDATE tenant_origins SET counted_since = now() - interval '2 h'")
    async with alice.database.statement() as connection:
        assert await delete_idle_origins(connection, seconds=3600, limit=9) == 0
        await alice.record_attempts(to_success(due))
        assert await delete_idle_origins(connection, seconds=3600, limit=9) == 0
        await alice.execute("UPDATE tenant_origins SET counted_since = now() - interval '2 h'")
        assert await delete_idle_origins(connection, seconds=3600, limit=9) == 1
    await alice.add_pending()
    assert len(await alice.claim_due_deliveries()) == 1


async def end_jobs(alice: TenantRows, urls: list[str], chance: random.Random) -> None:
    for _ in range(40):
        await alice.add_pending(chance.choice(urls))


async def dispatch(
    alice: TenantRows, ended: asyncio.Event, chance: random.Random
) -> set[DeliveryClaim]:
    """Send and record until nothing is left; return the claims of all first attempts."""
    sent: set[DeliveryClaim] = set()
    idle = 0
    while idle < 3:
        taken = await alice.claim_due_deliveries(limit=4)
        idle = idle + 1 if ended.is_set() and not taken else 0
        sent |= {due.claim for due in taken if due.claim.attempt == 1}
        outcomes = [to_failure(due) if chance.random() < 0.3 else to_success(due) for due in taken]
        if outcomes:
            held = await alice.record_attempts(*outcomes, rules=replace(RULES, min_requests=10_000))
            assert len(held) == len(outcomes)
        else:
            await maintain(alice)
    return sent


async def test_counters_are_right_after_concurrent_claims_and_sweeps(
    alice: TenantRows, bob: TenantRows
) -> None:
    """Dispatchers, workers and sweepers run at the same time, without a deadlock."""
    chance = random.Random(5)
    urls = [f"https://host-{number}.test/" for number in range(4)]
    ended = asyncio.Event()
    dispatching = [asyncio.create_task(dispatch(alice, ended, chance)) for _ in range(4)]
    await asyncio.gather(*(end_jobs(each, urls, chance) for each in (alice, bob)))
    ended.set()
    sent = await asyncio.gather(*dispatching)
    assert len(set[DeliveryClaim]().union(*sent)) == 80
    assert {row["state"] for row in await alice.read_rows(Delivery)} == {DELIVERED}
    assert {row["sending"] for row in await alice.read_rows(TenantOrigin)} == {0}
