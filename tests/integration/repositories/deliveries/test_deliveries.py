"""Claiming webhook deliveries and recording their attempts."""

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
from tests.integration.repositories.support.tenant_rows import (
    FAR_AHEAD,
    HOOK,
    LOG,
    LONG_AGO,
    PER_ORIGIN,
    RESULT,
    TenantRows,
)

PENDING, SENDING = DeliveryState.PENDING, DeliveryState.SENDING
ENDS = [DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.DISCARDED]


async def add_due_deliveries(alice: TenantRows, *order: int) -> list[DeliveryClaim]:
    """Add pending deliveries, due in the order of these numbers."""
    return [
        await alice.add_delivery(PENDING, available_at=LONG_AGO + timedelta(seconds=position))
        for position in order
    ]


async def test_a_claim_returns_everything_needed_to_send(alice: TenantRows) -> None:
    made = await alice.add_delivery(PENDING, failures=4)
    (due,) = await alice.claim_due_deliveries()
    assert due.claim == DeliveryClaim(made.delivery_id, made.attempt + 1)
    assert (due.event, due.url, due.failures) == (Event.SUCCEEDED, HOOK, 4)
    assert (due.job.tenant_id, due.job.track_id, due.job.result) == (
        alice.tenant_id,
        "order-9",
        RESULT,
    )
    assert due.secrets == ()
    row = await alice.read_delivery(made.delivery_id)
    assert (row["state"], row["claimed_by"], row["job_id"]) == (SENDING, "d1", due.job.id)
    assert row["lease_expires_at"] > row["created_at"] + timedelta(seconds=59)


async def test_the_longest_due_come_first_up_to_the_limit(alice: TenantRows) -> None:
    third, first, second = await add_due_deliveries(alice, 3, 1, 2)
    claimed = [due.claim.delivery_id for due in await alice.claim_due_deliveries(limit=2)]
    assert claimed == [first.delivery_id, second.delivery_id]
    assert [due.claim.delivery_id for due in await alice.claim_due_deliveries()] == [
        third.delivery_id
    ]
    assert await alice.claim_due_deliveries() == []


async def test_a_delivery_is_not_claimed_before_it_is_due(alice: TenantRows) -> None:
    await alice.add_delivery(PENDING, available_at=FAR_AHEAD)
    assert await alice.claim_due_deliveries() == []


@pytest.mark.parametrize("state", [state for state in DeliveryState if state is not PENDING])
async def test_only_pending_deliveries_are_claimed(alice: TenantRows, state: DeliveryState) -> None:
    await alice.add_delivery(state)
    assert await alice.claim_due_deliveries() == []


async def test_concurrent_dispatchers_claim_each_delivery_once(alice: TenantRows) -> None:
    made = await add_due_deliveries(alice, *range(40))

    async def claim_all() -> list[DeliveryClaim]:
        taken: list[DeliveryClaim] = []
        while due := await alice.claim_due_deliveries(limit=3):
            taken.extend(delivery.claim for delivery in due)
        return taken

    taken = await asyncio.gather(*(claim_all() for _ in range(8)))
    counts = Counter(claim.delivery_id for mine in taken for claim in mine)
    assert counts == Counter(claim.delivery_id for claim in made)


async def test_a_claim_skips_tenants_that_another_claim_has_locked(alice: TenantRows) -> None:
    first, second = await add_due_deliveries(alice, 1, 2)
    async with alice.database.transaction() as connection:
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
        passed = await alice.claim_deliveries(retries=True)
        assert (passed.deliveries, passed.has_more) == ([], True)
    assert [due.claim.delivery_id for due in await alice.claim_due_deliveries()] == [
        second.delivery_id
    ]


async def test_a_claim_returns_live_secrets_newest_first(
    alice: TenantRows, bob: TenantRows
) -> None:
    async with alice.database.transaction() as connection:
        for secret, overlap in (("oldest", 60.0), ("older", -1.0), ("newer", 60.0), ("new", 60.0)):
            # Each expires the previous one after its overlap: "oldest" expires at once.
            await add_webhook_secret(
                connection, tenant_id=alice.tenant_id, secret=secret, overlap_seconds=overlap
            )
        await add_webhook_secret(
            connection, tenant_id=bob.tenant_id, secret="theirs", overlap_seconds=60
        )
    await alice.add_delivery(PENDING)
    (due,) = await alice.claim_due_deliveries()
    assert due.secrets == ("new", "newer", "older")


@pytest.mark.parametrize("end", ENDS)
async def test_only_the_holder_of_the_claim_records_an_outcome(
    alice: TenantRows, end: DeliveryState
) -> None:
    for state in DeliveryState:
        made = await alice.add_delivery(state)
        for attempt in (made.attempt - 1, made.attempt, made.attempt + 1):
            if state is SENDING and attempt == made.attempt:
                continue
            claim = replace(made, attempt=attempt)
            before = await alice.read_everything()
            assert not await alice.record_attempts(
                DeliveryResult(claim, end, LOG, is_healthy=False)
            )
            assert not await alice.record_attempts(
                DeliveryResult(claim, PENDING, LOG, wait_seconds=60.0)
            )
            assert await alice.read_everything() == before


@pytest.mark.parametrize("end", ENDS)
async def test_a_final_state_is_recorded_once(alice: TenantRows, end: DeliveryState) -> None:
    claim = await alice.add_delivery(SENDING, failures=1)
    assert await alice.record_attempts(DeliveryResult(claim, end, LOG)) == {claim}
    assert not await alice.record_attempts(DeliveryResult(claim, end, LOG))
    row = await alice.read_delivery(claim.delivery_id)
    failures = 1 if end is DeliveryState.DELIVERED else 2
    assert (row["state"], row["failures"], row["lease_expires_at"]) == (end, failures, None)
    assert row["finished_at"] is not None
    (attempt,) = await alice.read_rows(DeliveryAttempt)
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


async def test_a_retry_is_scheduled_and_logged(alice: TenantRows) -> None:
    claim = await alice.add_delivery(SENDING)
    log = replace(LOG, status_code=None, error="timeout", answer="")
    again = DeliveryResult(claim, PENDING, log, wait_seconds=3600.0)
    assert await alice.record_attempts(again) == {claim}
    assert not await alice.record_attempts(again)
    row = await alice.read_delivery(claim.delivery_id)
    assert (row["state"], row["failures"], row["attempt"]) == (PENDING, 1, claim.attempt)
    assert row["available_at"] >= row["created_at"] + timedelta(hours=1)
    assert row["finished_at"] is None
    (attempt,) = await alice.read_rows(DeliveryAttempt)
    assert (attempt["error"], attempt["status_code"]) == ("timeout", None)
    assert attempt["next_attempt_at"] == row["available_at"]


async def test_a_response_with_a_nul_byte_is_recorded(alice: TenantRows) -> None:
    """Otherwise a receiver could prevent its delivery from ever ending."""
    claim = await alice.add_delivery(SENDING)
    assert await alice.record_attempts(DeliveryResult(claim, ENDS[0], replace(LOG, answer="a\0b")))
    assert [row["answer"] for row in await alice.read_rows(DeliveryAttempt)] == ["a\ufffdb"]


async def test_deliveries_of_a_dead_dispatcher_are_requeued(alice: TenantRows) -> None:
    dead = [
        await alice.add_delivery(SENDING, lease_expires_at=LONG_AGO + timedelta(seconds=age))
        for age in (1, 0)
    ]
    alive = await alice.add_delivery(SENDING)
    ended = await alice.add_delivery(DeliveryState.DELIVERED)
    async with alice.database.statement() as connection:
        assert await requeue_expired_deliveries(connection, limit=1) == 1
        assert (await alice.read_delivery(dead[0].delivery_id))["state"] is SENDING
        assert await requeue_expired_deliveries(connection, limit=9) == 1
        assert await requeue_expired_deliveries(connection, limit=9) == 0
    assert (await alice.read_delivery(alive.delivery_id))["state"] is SENDING
    assert (await alice.read_delivery(ended.delivery_id))["state"] is DeliveryState.DELIVERED
    row = await alice.read_delivery(dead[0].delivery_id)
    assert (row["state"], row["attempt"], row["failures"]) == (PENDING, dead[0].attempt, 0)
    assert {due.claim.attempt for due in await alice.claim_due_deliveries()} == {
        dead[0].attempt + 1
    }
