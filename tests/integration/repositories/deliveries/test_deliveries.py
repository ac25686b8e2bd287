"""Taking webhook deliveries and recording what came of them."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from common.domain.delivery import DeliveryClaim, DeliveryState, Event
from common.postgres.models import DeliveryAttempt
from common.postgres.repositories.deliveries.claim import claim_deliveries
from common.postgres.repositories.deliveries.record import DeliveryResult
from common.postgres.repositories.maintenance.requeue import requeue_expired_deliveries
from common.postgres.repositories.tenants.tenants import add_webhook_secret
from tests.integration.repositories.support.counters import (
    FAR_AHEAD,
    HOOK,
    LOG,
    LONG_AGO,
    PER_ORIGIN,
    RESULT,
    Books,
)

PENDING, SENDING = DeliveryState.PENDING, DeliveryState.SENDING
ENDS = [DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.DISCARDED]


async def due_in_turn(books: Books, *turns: int) -> list[DeliveryClaim]:
    """Make pending deliveries, due at their turns."""
    return [
        await books.delivery_in(PENDING, available_at=LONG_AGO + timedelta(seconds=turn))
        for turn in turns
    ]


async def test_a_claim_brings_all_that_sending_needs(books: Books) -> None:
    made = await books.delivery_in(PENDING, failures=4)
    (due,) = await books.claim_due()
    assert due.claim == DeliveryClaim(made.delivery_id, made.attempt + 1)
    assert (due.event, due.url, due.failures) == (Event.SUCCEEDED, HOOK, 4)
    assert (due.job.tenant_id, due.job.track_id, due.job.result) == (
        books.tenant_id,
        "order-9",
        RESULT,
    )
    assert due.secrets == ()
    row = await books.delivery(made.delivery_id)
    assert (row["state"], row["claimed_by"], row["job_id"]) == (SENDING, "d1", due.job.id)
    assert row["lease_expires_at"] > row["created_at"] + timedelta(seconds=59)


async def test_the_longest_due_come_first_up_to_the_limit(books: Books) -> None:
    third, first, second = await due_in_turn(books, 3, 1, 2)
    claimed = [due.claim.delivery_id for due in await books.claim_due(limit=2)]
    assert claimed == [first.delivery_id, second.delivery_id]
    assert [due.claim.delivery_id for due in await books.claim_due()] == [third.delivery_id]
    assert await books.claim_due() == []


async def test_a_delivery_waits_for_its_time(books: Books) -> None:
    await books.delivery_in(PENDING, available_at=FAR_AHEAD)
    assert await books.claim_due() == []


@pytest.mark.parametrize("state", [state for state in DeliveryState if state is not PENDING])
async def test_only_pending_deliveries_are_taken(books: Books, state: DeliveryState) -> None:
    await books.delivery_in(state)
    assert await books.claim_due() == []


async def test_dispatchers_at_once_take_each_delivery_once(books: Books) -> None:
    made = await due_in_turn(books, *range(40))

    async def take_all() -> list[DeliveryClaim]:
        taken: list[DeliveryClaim] = []
        while due := await books.claim_due(limit=3):
            taken.extend(delivery.claim for delivery in due)
        return taken

    taken = await asyncio.gather(*(take_all() for _ in range(8)))
    counts = Counter(claim.delivery_id for mine in taken for claim in mine)
    assert counts == Counter(claim.delivery_id for claim in made)


async def test_dispatchers_pass_over_what_another_is_just_taking(books: Books) -> None:
    first, second = await due_in_turn(books, 1, 2)
    async with books.database.transaction() as connection:
        held = await claim_deliveries(
            connection,
            dispatcher="d2",
            limit=1,
            lease_seconds=60,
            per_origin=PER_ORIGIN,
            retries=True,
        )
        (taken,) = held.deliveries
        assert taken.claim.delivery_id == first.delivery_id
        passed = await books.look(retries=True)
        assert (passed.deliveries, passed.has_more) == ([], True)
    assert [due.claim.delivery_id for due in await books.claim_due()] == [second.delivery_id]


async def test_live_secrets_newest_first(books: Books, other_books: Books) -> None:
    async with books.database.transaction() as connection:
        for secret, overlap in (("oldest", 60.0), ("older", -1.0), ("newer", 60.0), ("new", 60.0)):
            # Each ends the life of the one before after its overlap: "oldest" is dead at once.
            await add_webhook_secret(
                connection, tenant_id=books.tenant_id, secret=secret, overlap_seconds=overlap
            )
        await add_webhook_secret(
            connection, tenant_id=other_books.tenant_id, secret="theirs", overlap_seconds=60
        )
    await books.delivery_in(PENDING)
    (due,) = await books.claim_due()
    assert due.secrets == ("new", "newer", "older")


@pytest.mark.parametrize("end", ENDS)
async def test_only_the_holder_ends_or_retries(books: Books, end: DeliveryState) -> None:
    for state in DeliveryState:
        made = await books.delivery_in(state)
        for attempt in (made.attempt - 1, made.attempt, made.attempt + 1):
            if state is SENDING and attempt == made.attempt:
                continue
            claim = replace(made, attempt=attempt)
            before = await books.everything()
            assert not await books.told(DeliveryResult(claim, end, LOG, is_healthy=False))
            assert not await books.told(DeliveryResult(claim, PENDING, LOG, wait_seconds=60.0))
            assert await books.everything() == before


@pytest.mark.parametrize("end", ENDS)
async def test_an_end_is_recorded_once(books: Books, end: DeliveryState) -> None:
    claim = await books.delivery_in(SENDING, failures=1)
    assert await books.told(DeliveryResult(claim, end, LOG)) == {claim}
    assert not await books.told(DeliveryResult(claim, end, LOG))
    row = await books.delivery(claim.delivery_id)
    failures = 1 if end is DeliveryState.DELIVERED else 2
    assert (row["state"], row["failures"], row["lease_expires_at"]) == (end, failures, None)
    assert row["finished_at"] is not None
    (attempt,) = await books.rows(DeliveryAttempt)
    assert attempt == {
        "id": attempt["id"],
        "delivery_id": claim.delivery_id,
        "attempt": claim.attempt,
        "started_at": LOG.started_at,
        "duration_ms": 13,
        "status_code": 503,
        "error": None,
        "answer": "busy",
        "next_attempt_at": None,
        "ended_by": None,
    }


async def test_a_retry_is_planned_and_logged(books: Books) -> None:
    claim = await books.delivery_in(SENDING)
    log = replace(LOG, status_code=None, error="timeout", answer="")
    again = DeliveryResult(claim, PENDING, log, wait_seconds=3600.0)
    assert await books.told(again) == {claim}
    assert not await books.told(again)
    row = await books.delivery(claim.delivery_id)
    assert (row["state"], row["failures"], row["attempt"]) == (PENDING, 1, claim.attempt)
    assert row["available_at"] >= row["created_at"] + timedelta(hours=1)
    assert row["finished_at"] is None
    (attempt,) = await books.rows(DeliveryAttempt)
    assert (attempt["error"], attempt["status_code"]) == ("timeout", None)
    assert attempt["next_attempt_at"] == row["available_at"]


async def test_an_answer_with_a_nul_can_be_recorded(books: Books) -> None:
    """Otherwise a receiver could keep its delivery from ever ending."""
    claim = await books.delivery_in(SENDING)
    assert await books.told(DeliveryResult(claim, ENDS[0], replace(LOG, answer="a\0b")))
    assert [row["answer"] for row in await books.rows(DeliveryAttempt)] == ["a\ufffdb"]


async def test_a_dead_dispatchers_deliveries_are_pending_again(books: Books) -> None:
    dead = [
        await books.delivery_in(SENDING, lease_expires_at=LONG_AGO + timedelta(seconds=age))
        for age in (1, 0)
    ]
    alive = await books.delivery_in(SENDING)
    ended = await books.delivery_in(DeliveryState.DELIVERED)
    async with books.database.statement() as connection:
        assert await requeue_expired_deliveries(connection, limit=1) == 1
        assert (await books.delivery(dead[0].delivery_id))["state"] is SENDING
        assert await requeue_expired_deliveries(connection, limit=9) == 1
        assert await requeue_expired_deliveries(connection, limit=9) == 0
    assert (await books.delivery(alive.delivery_id))["state"] is SENDING
    assert (await books.delivery(ended.delivery_id))["state"] is DeliveryState.DELIVERED
    row = await books.delivery(dead[0].delivery_id)
    assert (row["state"], row["attempt"], row["failures"]) == (PENDING, dead[0].attempt, 0)
    assert {due.claim.attempt for due in await books.claim_due()} == {dead[0].attempt + 1}
