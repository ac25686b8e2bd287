"""When the dispatcher looks, how much it takes, and how it ends."""

import asyncio

import pytest

from common.domain.delivery import DeliveryState
from tests.integration.jobs import Owner, succeeded
from tests.integration.receiver import Receiver, Reply
from tests.integration.webhooks.desk import Desk
from worker.webhooks.dispatcher import largest_batch

HOUR = 3600.0


async def test_a_ring_is_enough(desk: Desk, owner: Owner, receiver: Receiver) -> None:
    async with desk.configured(poll_seconds=HOUR).dispatching():
        for number in (1, 2, 3):
            await succeeded(desk.database, owner, receiver.url)
            assert await desk.doorbell.ring_dispatcher()
            await receiver.request(number)


async def test_no_ring_is_needed(desk: Desk, owner: Owner, receiver: Receiver) -> None:
    async with desk.dispatching():
        await succeeded(desk.database, owner, receiver.url)
        await receiver.request(1)
        await succeeded(desk.database, owner, receiver.url)
        await receiver.request(2)


async def test_no_more_than_the_slots_are_under_way(
    desk: Desk, owner: Owner, receiver: Receiver
) -> None:
    hold = asyncio.Event()
    receiver.replies.extend(Reply(hold=hold) for _ in range(3))
    endings = [await succeeded(desk.database, owner, receiver.url) for _ in range(7)]
    async with desk.configured(concurrency=3, poll_seconds=HOUR).dispatching():
        await receiver.request(3)
        rows = [await desk.row(ended.delivery_id) for ended in endings]
        states = [row.state for row in rows]
        assert states == [DeliveryState.SENDING] * 3 + [DeliveryState.PENDING] * 4
        # Freed slots are filled although nobody rings.
        hold.set()
        await receiver.request(7)
    rows = [await desk.row(ended.delivery_id) for ended in endings]
    assert {row.state for row in rows} == {DeliveryState.DELIVERED}
    assert len(receiver.requests) == 7


async def test_two_dispatchers_never_send_the_same(
    desk: Desk, owner: Owner, receiver: Receiver
) -> None:
    endings = [await succeeded(desk.database, owner, receiver.url) for _ in range(40)]
    async with desk.dispatching(), desk.dispatching():
        await receiver.request(40)
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert sorted(ids) == sorted(str(ended.delivery_id) for ended in endings)


async def test_stopping_finishes_what_is_under_way_and_starts_nothing(
    desk: Desk, owner: Owner, receiver: Receiver
) -> None:
    hold, stopping = asyncio.Event(), asyncio.Event()
    receiver.replies.append(Reply(hold=hold))
    first = await succeeded(desk.database, owner, receiver.url)

    async def serve() -> None:
        async with desk.configured(concurrency=1).dispatching():
            await stopping.wait()

    serving = asyncio.create_task(serve())
    await receiver.request()
    second = await succeeded(desk.database, owner, receiver.url)
    stopping.set()
    done, _ = await asyncio.wait({serving}, timeout=0)
    assert not done
    hold.set()
    await serving
    assert (await desk.row(first.delivery_id)).state is DeliveryState.DELIVERED
    assert (await desk.row(second.delivery_id)).state is DeliveryState.PENDING


@pytest.mark.parametrize(
    ("free", "batch"), [(1, 1), (2, 2), (3, 2), (4, 4), (127, 64), (128, 128), (200, 128)]
)
def test_batches_are_powers_of_two(free: int, batch: int) -> None:
    assert largest_batch(free) == batch
