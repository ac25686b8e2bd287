"""Which tenant gets a free slot of a shared resource."""

import asyncio

import pytest

from worker.sharing.fair_slots import FairSlots

A, B, C, D = 1, 2, 3, 4


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def acquired(slots: FairSlots, *tenants: int) -> list[asyncio.Task[None]]:
    """Let the tenants ask for a slot each, in this order; return their tasks."""
    tasks = [asyncio.create_task(slots.acquire(tenant)) for tenant in tenants]
    await settled()
    return tasks


@pytest.mark.parametrize(
    ("asked", "admitted"),
    [
        pytest.param([A, A, A], [True, True, False], id="alone: half of the slots"),
        pytest.param([A, A, A, B], [True, True, False, True], id="another finds a free one"),
        pytest.param([A, A, B, B], [True, True, True, False], id="the last one is left free"),
        pytest.param([A, A, B, C], [True, True, True, True], id="a third tenant takes the last"),
        pytest.param([A, A, B, C, D], [True, True, True, True, False], id="none is left"),
    ],
)
async def test_a_tenant_gets_as_many_slots_as_stay_free(
    asked: list[int], admitted: list[bool]
) -> None:
    tasks = await acquired(FairSlots(4), *asked)
    assert [task.done() for task in tasks] == admitted
    for task in tasks:
        task.cancel()


async def test_a_tenant_alone_uses_a_single_slot() -> None:
    first, second = await acquired(slots := FairSlots(1), A, A)
    assert (first.done(), second.done()) == (True, False)
    slots.release(A)
    await second


async def test_the_waiter_whose_tenant_holds_fewest_is_served_first_then_the_oldest() -> None:
    slots = FairSlots(4)
    *_, a3, b2, d1 = await acquired(slots, A, A, B, C, A, B, D)
    slots.release(C)
    await settled()
    assert (a3.done(), b2.done(), d1.done()) == (False, False, True)
    slots.release(A)
    slots.release(A)
    await settled()
    assert (a3.done(), b2.done()) == (True, False)
    b2.cancel()


async def test_a_waiter_that_is_canceled_leaves_its_slot_to_others() -> None:
    slots = FairSlots(1)
    _, waiting, last = await acquired(slots, A, B, C)
    waiting.cancel()
    slots.release(A)
    await last
    slots.release(C)
    admitted = asyncio.create_task(slots.acquire(A))
    await asyncio.sleep(0)
    other = asyncio.create_task(slots.acquire(B))
    await settled()
    assert admitted.done()
    assert not other.done()
    slots.release(A)
    other.cancel()  # in the same iteration as it was admitted
    await settled()
    assert other.cancelled()
    await slots.acquire(C)
