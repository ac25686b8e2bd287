"""When the dispatcher claims deliveries, how many, and how it shuts down."""

import asyncio
from collections import Counter

import pytest
from prometheus_client import REGISTRY

from common.domain.delivery import DeliveryState
from tests.integration.dispatcher.harness import DispatcherHarness
from tests.support.jobs import Owner, add_succeeded_job, create_owner
from tests.support.receiver import Receiver, Reply, receiving
from worker.dispatcher import dispatcher
from worker.dispatcher.dispatcher import largest_batch

HOUR = 3600.0


async def test_a_ring_is_enough(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    async with harness.with_settings(poll_seconds=HOUR).dispatching():
        for number in (1, 2, 3):
            await add_succeeded_job(harness.database, owner, receiver.url)
            assert await harness.doorbell.ring_dispatcher()
            await receiver.request(number)


async def test_no_ring_is_needed(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    async with harness.dispatching():
        await add_succeeded_job(harness.database, owner, receiver.url)
        await receiver.request(1)
        await add_succeeded_job(harness.database, owner, receiver.url)
        await receiver.request(2)


async def test_no_more_attempts_run_than_there_are_slots(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    hold = asyncio.Event()
    receiver.replies.extend(Reply(hold=hold) for _ in range(3))
    endings = [await add_succeeded_job(harness.database, owner, receiver.url) for _ in range(7)]
    async with harness.with_settings(concurrency=3, poll_seconds=HOUR).dispatching():
        await receiver.request(3)
        rows = [await harness.row(ended.delivery_id) for ended in endings]
        states = [row.state for row in rows]
        assert states == [DeliveryState.SENDING] * 3 + [DeliveryState.PENDING] * 4
        # Freed slots are filled without a ring.
        hold.set()
        await receiver.request(7)
    rows = [await harness.row(ended.delivery_id) for ended in endings]
    assert {row.state for row in rows} == {DeliveryState.DELIVERED}
    assert len(receiver.requests) == 7


async def test_two_dispatchers_never_send_the_same(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    endings = [await add_succeeded_job(harness.database, owner, receiver.url) for _ in range(40)]
    async with harness.dispatching(), harness.dispatching():
        await receiver.request(40)
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert sorted(ids) == sorted(str(ended.delivery_id) for ended in endings)


async def test_stopping_finishes_running_attempts_and_starts_none(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    hold, stopping = asyncio.Event(), asyncio.Event()
    receiver.replies.append(Reply(hold=hold))
    first = await add_succeeded_job(harness.database, owner, receiver.url)

    async def serve() -> None:
        async with harness.with_settings(concurrency=1).dispatching():
            await stopping.wait()

    serving = asyncio.create_task(serve())
    await receiver.request()
    second = await add_succeeded_job(harness.database, owner, receiver.url)
    stopping.set()
    done, _ = await asyncio.wait({serving}, timeout=0)
    assert not done
    hold.set()
    await serving
    assert (await harness.row(first.delivery_id)).state is DeliveryState.DELIVERED
    assert (await harness.row(second.delivery_id)).state is DeliveryState.PENDING


async def test_retries_leave_slots_to_first_attempts(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    hold = asyncio.Event()
    receiver.replies.extend(Reply(hold=hold) for _ in range(3))
    retries = [await add_succeeded_job(harness.database, owner, receiver.url) for _ in range(5)]
    await harness.execute("UPDATE deliveries SET attempt = 1")
    async with harness.with_settings(concurrency=4, first_attempt_share=0.5).dispatching():
        await receiver.request(2)
        # All that retries may take is taken.
        first = await add_succeeded_job(harness.database, owner, receiver.url)
        request = await receiver.request(3)
        assert request.headers["webhook-id"] == str(first.delivery_id)
        rows = [await harness.row(ended.delivery_id) for ended in retries]
        assert Counter(row.state for row in rows) == {
            DeliveryState.SENDING: 2,
            DeliveryState.PENDING: 3,
        }
        hold.set()
        await receiver.request(6)


async def test_one_tenant_does_not_take_all_slots(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "LARGEST_BATCH", 1)
    hold = asyncio.Event()
    receiver.replies.extend(Reply(hold=hold) for _ in range(4))
    theirs = [await add_succeeded_job(harness.database, owner, receiver.url) for _ in range(6)]
    async with harness.with_settings(concurrency=4).dispatching():
        await receiver.request(2)
        other = await create_owner(harness.database)
        ended = await add_succeeded_job(harness.database, other, receiver.url)
        request = await receiver.request(3)
        assert request.headers["webhook-id"] == str(ended.delivery_id)
        rows = [await harness.row(one.delivery_id) for one in theirs]
        assert sum(row.state is DeliveryState.SENDING for row in rows) == 2
        hold.set()
        await receiver.request(7)


async def test_no_more_than_its_limit_is_sent_to_one_origin(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    hold = asyncio.Event()
    receiver.replies.extend(Reply(hold=hold) for _ in range(2))
    endings = [await add_succeeded_job(harness.database, owner, receiver.url) for _ in range(6)]
    async with receiving() as elsewhere:
        await add_succeeded_job(harness.database, owner, elsewhere.url)
        async with harness.with_settings(origin_concurrency=2).dispatching():
            await receiver.request(2)
            await elsewhere.request()
            rows = [await harness.row(ended.delivery_id) for ended in endings]
            assert sum(row.state is DeliveryState.SENDING for row in rows) == 2
            hold.set()
            await receiver.request(6)


async def test_the_circuit_breaker_of_a_failing_origin_opens_and_closes(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    receiver.replies.extend(Reply(500) for _ in range(3))
    endings = [await add_succeeded_job(harness.database, owner, receiver.url) for _ in range(6)]
    careful = harness.with_settings(origin_concurrency=1, breaker_min_requests=3)
    opened = REGISTRY.get_sample_value("infill_webhook_breakers_opened_total") or 0
    async with careful.dispatching():
        await receiver.request(3)
        await harness.wait_for_attempt(endings[2].delivery_id)
        # Others are served meanwhile.
        async with receiving() as elsewhere:
            await add_succeeded_job(harness.database, owner, elsewhere.url)
            await elsewhere.request()
        assert len(receiver.requests) == 3
        await harness.execute("UPDATE tenant_origins SET open_until = now(), held_until = now()")
        await harness.execute("UPDATE tenant_dispatches SET due_at = now()")
        await receiver.request(6)
    states = [(await harness.row(ended.delivery_id)).state for ended in endings]
    assert states == [DeliveryState.PENDING] * 3 + [DeliveryState.DELIVERED] * 3
    assert REGISTRY.get_sample_value("infill_webhook_breakers_opened_total") == opened + 1


async def test_an_attempt_that_cannot_be_recorded_fails_no_other_of_its_batch(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    """Attempts are recorded in batches; one whose row violates a constraint fails alone."""
    hold = asyncio.Event()
    receiver.replies.extend([Reply(hold=hold), Reply(hold=hold), Reply(418, hold=hold)])
    endings = [await add_succeeded_job(harness.database, owner, receiver.url) for _ in range(3)]
    await harness.execute("ALTER TABLE delivery_attempts ADD CHECK (status_code <> 418)")
    async with harness.dispatching():
        await receiver.request(3)
        hold.set()
    rows = [await harness.row(ended.delivery_id) for ended in endings]
    assert Counter(row.state for row in rows) == {
        DeliveryState.DELIVERED: 2,
        DeliveryState.SENDING: 1,
    }


@pytest.mark.parametrize(
    ("free", "batch"), [(1, 1), (2, 2), (3, 2), (4, 4), (127, 64), (128, 128), (200, 128)]
)
def test_batches_are_powers_of_two(free: int, batch: int) -> None:
    assert largest_batch(free) == batch
