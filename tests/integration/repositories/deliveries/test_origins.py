"""Lines of deliveries: how much of one goes at once, whose turn it is, and who is left in peace."""

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
from tests.integration.repositories.support.counters import (
    HOOK,
    LOG,
    LONG_AGO,
    PER_ORIGIN,
    RULES,
    Books,
)
from worker.maintenance.sweeper import maintain_origins

ORIGIN = "https://caller.test"
NEVER, AT_ANY_TIME = "infinity", "-infinity"
DELIVERED, PENDING = DeliveryState.DELIVERED, DeliveryState.PENDING


def well(due: DueDelivery) -> DeliveryResult:
    return DeliveryResult(due.claim, DELIVERED, LOG, is_healthy=True)


def ill(due: DueDelivery, wait_seconds: float = 0.0) -> DeliveryResult:
    return DeliveryResult(due.claim, PENDING, LOG, wait_seconds=wait_seconds, is_healthy=False)


async def keep(books: Books) -> None:
    async with books.database.statement() as connection:
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
async def test_a_delivery_stands_in_the_line_of_its_origin(
    books: Books, url: str, origin: str
) -> None:
    (made,) = await books.waiting(url)
    assert (await books.delivery(made))["origin"] == origin
    assert (await books.line(origin))["held_until"] == AT_ANY_TIME


async def test_no_more_of_a_line_is_under_way_than_may_be(books: Books) -> None:
    await books.waiting(number=5)
    first = (await books.look(per_origin=2)).deliveries
    assert len(first) == 2
    full = await books.look(per_origin=2)
    assert (full.deliveries, full.has_more) == ([], False)
    assert (await books.line(ORIGIN))["held_until"] == NEVER
    assert await books.told(well(first[0]))
    assert len((await books.look()).deliveries) == 3
    assert (await books.line(ORIGIN))["sending"] == 4


async def test_a_limit_that_was_lowered_holds_from_then_on(books: Books) -> None:
    await books.waiting(number=5)
    assert len((await books.look(limit=4)).deliveries) == 4
    await books.run("UPDATE tenant_dispatches SET has_due = true")
    assert (await books.look(per_origin=2)).deliveries == []
    async with books.database.statement() as connection:
        assert await recount_sending(connection, per_origin=10) == 1
        await recheck_all_origins(connection)
    assert len((await books.look()).deliveries) == 1


async def test_a_tenant_with_many_origins_gets_one_share(books: Books, other_books: Books) -> None:
    for number in range(12):
        await books.waiting(f"https://host-{number}.test/")
    await other_books.waiting(number=6)
    for _ in range(3):
        taken = (await books.look(limit=4)).deliveries
        owners = Counter(due.job.tenant_id for due in taken)
        assert owners == {books.tenant_id: 2, other_books.tenant_id: 2}


async def test_of_two_tenants_the_one_served_longest_ago_is_next(
    books: Books, other_books: Books
) -> None:
    for each in (books, other_books):
        await each.waiting(number=3)
    owners = [(await books.look(limit=1)).deliveries[0].job.tenant_id for _ in range(6)]
    assert set(owners[:2]) == set(owners[2:4]) == set(owners[4:]) == set(owners)


async def test_each_line_of_a_tenant_gets_an_equal_part(books: Books) -> None:
    await books.waiting(number=6, available_at=LONG_AGO)
    await books.waiting("https://other.test/", number=6)
    taken = (await books.look(limit=4)).deliveries
    assert Counter(due.url for due in taken) == {HOOK: 2, "https://other.test/": 2}


async def test_tenants_can_be_passed_over(books: Books, other_books: Books) -> None:
    for each in (books, other_books):
        await each.waiting()
    due = await books.look(skip_tenants=[books.tenant_id])
    assert [taken.job.tenant_id for taken in due.deliveries] == [other_books.tenant_id]
    assert not due.has_more


async def test_first_attempts_and_retries_are_claimed_apart(books: Books) -> None:
    (first,) = await books.waiting()
    retry = await books.delivery_in(PENDING)
    assert [due.claim.delivery_id for due in (await books.look(retries=True)).deliveries] == [
        retry.delivery_id
    ]
    assert [due.claim.delivery_id for due in (await books.look()).deliveries] == [first]


async def test_a_retry_becomes_due_unheard(books: Books) -> None:
    await books.waiting()
    (due,) = (await books.look()).deliveries
    assert await books.told(ill(due, wait_seconds=3600.0))
    assert (await books.look(retries=True)).deliveries == []
    for table in ("deliveries SET available_at", "tenant_origins SET retry_due_at"):
        await books.run(f"UPDATE {table} = now()")
    await books.run("UPDATE tenant_dispatches SET due_at = now(), has_due = false")
    assert (await books.look(retries=True)).deliveries == []
    async with books.database.statement() as connection:
        assert await mark_due_dispatches(connection) == 2
    assert [again.claim.attempt for again in (await books.look(retries=True)).deliveries] == [2]


async def test_the_breaker_opens_at_ten_attempts_with_seven_failed(books: Books) -> None:
    await books.waiting(number=12)
    taken = (await books.look()).deliveries
    await books.told(*map(ill, taken[:6]))
    await books.told(*map(well, taken[6:9]))
    line = await books.line(ORIGIN)
    assert (line["is_open"], line["requests"], line["failed"]) == (False, 9, 6)
    await books.told(ill(taken[9]))
    assert (await books.line(ORIGIN))["is_open"]
    # What is due waits, first attempts and retries: it is delayed, and loses no place.
    assert await books.claim_due() == []
    rows = [await books.delivery(due.claim.delivery_id) for due in taken]
    assert Counter(row["failures"] for row in rows) == {0: 3, 1: 7}


@pytest.mark.parametrize("failed", [6, 9])
async def test_it_stays_closed_below_either_limit(books: Books, failed: int) -> None:
    await books.waiting(number=12)
    taken = (await books.look()).deliveries
    number = 10 if failed == 6 else 9
    await books.told(*map(ill, taken[:failed]), *map(well, taken[failed:number]))
    assert not (await books.line(ORIGIN))["is_open"]
    assert len(await books.claim_due(limit=1)) == 1


async def test_attempts_long_ago_do_not_count(books: Books) -> None:
    await books.waiting(number=10)
    taken = (await books.look()).deliveries
    await books.told(*map(well, taken[:5]))
    await books.run("UPDATE tenant_origins SET counted_since = now() - interval '301 s'")
    await books.told(*map(ill, taken[5:]))
    line = await books.line(ORIGIN)
    assert (line["requests"], line["failed"], line["is_open"]) == (5, 5, False)


async def opened(books: Books, number: int = 3) -> None:
    """Have so many deliveries wait behind a breaker whose time is up."""
    await books.waiting(number=number + 1)
    (due,) = (await books.look(limit=1)).deliveries
    await books.told(ill(due, wait_seconds=3600.0), rules=replace(RULES, min_requests=1))
    assert (await books.line(ORIGIN))["is_open"]
    await books.run("UPDATE tenant_origins SET open_until = now(), held_until = now()")
    await books.run("UPDATE tenant_dispatches SET due_at = now()")
    async with books.database.statement() as connection:
        await mark_due_dispatches(connection)


async def test_half_open_it_lets_one_through_and_a_success_closes_it(books: Books) -> None:
    await opened(books)
    (probe,) = (await books.look()).deliveries
    assert await books.claim_due() == []
    await books.told(well(probe))
    line = await books.line(ORIGIN)
    assert (line["open_until"], line["held_until"], line["requests"]) == (
        AT_ANY_TIME,
        AT_ANY_TIME,
        0,
    )
    assert len((await books.look()).deliveries) == 2


async def test_half_open_a_failure_opens_it_anew(books: Books) -> None:
    await opened(books)
    (probe,) = (await books.look()).deliveries
    await books.told(ill(probe))
    assert (await books.line(ORIGIN))["is_open"]
    assert await books.claim_due() == []


async def test_a_probe_whose_dispatcher_died_is_made_again_after_its_lease(books: Books) -> None:
    await opened(books)
    assert len((await books.look()).deliveries) == 1
    await books.run("UPDATE tenant_origins SET open_until = now(), held_until = now()")
    await books.run("UPDATE tenant_dispatches SET due_at = now()")
    async with books.database.statement() as connection:
        await mark_due_dispatches(connection)
    assert len((await books.look()).deliveries) == 1


@pytest.mark.parametrize("is_healthy", [True, None])
async def test_what_is_no_fault_of_the_receivers_opens_nothing(
    books: Books, *, is_healthy: bool | None
) -> None:
    await books.waiting(number=10)
    taken = (await books.look()).deliveries
    await books.told(*(replace(ill(due), is_healthy=is_healthy) for due in taken))
    line = await books.line(ORIGIN)
    assert (line["is_open"], line["requests"]) == (False, 10 if is_healthy else 0)


async def test_what_crosses_a_claim_that_saw_nothing_more_is_found_by_the_look_again(
    books: Books,
) -> None:
    await books.waiting()
    job = await books.job_in(JobState.FAILED)
    async with books.database.transaction() as connection:
        # Its line is known to have something, so it is left alone.
        await connection.execute(
            insert(Delivery).values(
                job_id=job.job_id, tenant_id=books.tenant_id, event="job.failed", url=HOOK
            )
        )
        due = await books.look()
        assert len(due.deliveries) == 1
        assert due.origins_to_recheck == {(books.tenant_id, ORIGIN)}
    assert (await books.look()).deliveries == []
    async with books.database.statement() as connection:
        assert await recheck_origins(connection, due.origins_to_recheck)
        assert not await recheck_origins(connection, due.origins_to_recheck)
    assert len((await books.look()).deliveries) == 1


async def test_a_sweep_makes_good_what_a_dead_dispatcher_left(books: Books) -> None:
    await books.waiting(number=3)
    await books.look(per_origin=2)
    await books.run("UPDATE deliveries SET lease_expires_at = now() WHERE state = 'sending'")
    async with books.database.statement() as connection:
        assert await requeue_expired_deliveries(connection, limit=9) == 2
    assert (await books.line(ORIGIN))["sending"] == 2
    await keep(books)
    line = await books.line(ORIGIN)
    assert (line["sending"], line["held_until"]) == (0, AT_ANY_TIME)
    assert len(await books.claim_due()) == 3


async def test_a_line_that_nobody_needs_is_forgotten(books: Books) -> None:
    await books.waiting()
    (due,) = await books.claim_due()
    await books.run("UPDATE tenant_origins SET counted_since = now() - interval '2 h'")
    async with books.database.statement() as connection:
        assert await delete_idle_origins(connection, seconds=3600, limit=9) == 0
        await books.told(well(due))
        assert await delete_idle_origins(connection, seconds=3600, limit=9) == 0
        await books.run("UPDATE tenant_origins SET counted_since = now() - interval '2 h'")
        assert await delete_idle_origins(connection, seconds=3600, limit=9) == 1
    await books.waiting()
    assert len(await books.claim_due()) == 1


async def end_jobs(books: Books, urls: list[str], chance: random.Random) -> None:
    for _ in range(40):
        await books.waiting(chance.choice(urls))


async def dispatch(books: Books, ended: asyncio.Event, chance: random.Random) -> set[DeliveryClaim]:
    """Send and record until nothing is left; give the first claims of all that were sent."""
    sent: set[DeliveryClaim] = set()
    idle = 0
    while idle < 3:
        taken = await books.claim_due(limit=4)
        idle = idle + 1 if ended.is_set() and not taken else 0
        sent |= {due.claim for due in taken if due.claim.attempt == 1}
        outcomes = [ill(due) if chance.random() < 0.3 else well(due) for due in taken]
        if outcomes:
            held = await books.told(*outcomes, rules=replace(RULES, min_requests=10_000))
            assert len(held) == len(outcomes)
        else:
            await keep(books)
    return sent


async def test_whatever_happens_at_once_the_books_are_right_in_the_end(
    books: Books, other_books: Books
) -> None:
    """Dispatchers, whoever ends jobs, and sweepers; nobody waits in a circle."""
    chance = random.Random(5)
    urls = [f"https://host-{number}.test/" for number in range(4)]
    ended = asyncio.Event()
    dispatching = [asyncio.create_task(dispatch(books, ended, chance)) for _ in range(4)]
    await asyncio.gather(*(end_jobs(each, urls, chance) for each in (books, other_books)))
    ended.set()
    sent = await asyncio.gather(*dispatching)
    assert len(set[DeliveryClaim]().union(*sent)) == 80
    assert {row["state"] for row in await books.rows(Delivery)} == {DELIVERED}
    assert {row["sending"] for row in await books.rows(TenantOrigin)} == {0}
