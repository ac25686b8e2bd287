"""How many jobs a worker may claim, and of which tenants."""

import asyncio

import pytest

from common.domain.record import JobRecord
from tests.support.generation_request import job_record
from worker.sharing.generation_slots import MAX_PREPARING_PER_SLOT, GenerationSlots

A, B, C = 1, 2, 3


def job_of(tenant_id: int, number: int) -> JobRecord:
    return job_record(id=number, tenant_id=tenant_id)


def slots_with(number: int, preparing: dict[int, int], occupied: int = 0) -> GenerationSlots:
    """Return slots with the given numbers of jobs in preparation, by tenant, and in slots."""
    slots = GenerationSlots(number)
    tenants = [
        *(C,) * occupied,
        *(tenant for tenant in preparing for _ in range(preparing[tenant])),
    ]
    for job_id, tenant in enumerate(tenants):
        slots.start(job_of(tenant, job_id), has_inputs=True)
        if job_id < occupied:
            slots.occupy(job_of(tenant, job_id))
    return slots


@pytest.mark.parametrize(
    ("slots", "jobs", "by_tenant"),
    [
        pytest.param(slots_with(8, {}), 8, {}, id="idle"),
        pytest.param(slots_with(8, {A: 3}), 7, {A: 5}, id="a tenant's own jobs take slots"),
        pytest.param(slots_with(8, {A: 8}), 7, {A: 0}, id="others' count as one, however many"),
        pytest.param(slots_with(8, {A: 8, B: 2}), 6, {A: 0, B: 5}, id="two tenants count as two"),
        pytest.param(slots_with(8, {A: 2}, occupied=5), 2, {A: 1}, id="beside generations"),
        pytest.param(slots_with(8, {A: 1}, occupied=7), 0, {A: 0}, id="the last slot is promised"),
        pytest.param(slots_with(8, {}, occupied=8), 0, {}, id="all slots are occupied"),
        pytest.param(slots_with(8, {}, occupied=9), 0, {}, id="more jobs than slots"),
        pytest.param(slots_with(1, {A: 1}), 1, {A: 0}, id="one slot, and it is not occupied"),
        pytest.param(slots_with(1, {A: 1}, occupied=1), 0, {A: 0}, id="one slot, occupied"),
        pytest.param(
            slots_with(1, dict.fromkeys(range(MAX_PREPARING_PER_SLOT), 1)),
            0,
            dict.fromkeys(range(MAX_PREPARING_PER_SLOT), 0),
            id="as many in preparation as memory allows",
        ),
    ],
)
def test_room_for_claims(slots: GenerationSlots, jobs: int, by_tenant: dict[int, int]) -> None:
    room = slots.room()
    assert (room.jobs, room.by_tenant, slots.free) == (jobs, by_tenant, jobs)
    assert room.full_tenants == {tenant for tenant, left in by_tenant.items() if not left}


def test_a_job_without_images_occupies_a_slot_at_once() -> None:
    slots = GenerationSlots(2)
    slots.start(job_of(A, 1), has_inputs=False)
    assert (slots.room().jobs, slots.room().by_tenant) == (1, {})
    slots.occupy(job_of(A, 1))  # its images, of which there are none, have arrived
    assert slots.free == 1
    slots.end(job_of(A, 1))
    assert slots.free == 2


async def test_a_claim_waits_until_there_is_room() -> None:
    slots = slots_with(1, {}, occupied=1)
    waiting = asyncio.create_task(slots.wait_for_room())
    slots.start(job_of(A, 7), has_inputs=True)
    slots.end(job_of(A, 7))
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.end(job_of(C, 0))
    assert (await waiting).jobs == 1


async def test_one_caller_waits_for_the_tenants_of_all() -> None:
    slots = slots_with(2, {A: 2, B: 1})
    waiting = asyncio.create_task(slots.wait_for_tenants(frozenset({A})))
    await asyncio.sleep(0)
    assert not await slots.wait_for_tenants(frozenset({B}))
    slots.end(job_of(B, 2))
    assert await waiting


async def test_closing_ends_every_wait() -> None:
    full, slots = slots_with(1, {}, occupied=1), slots_with(1, {A: 1})
    room = asyncio.create_task(full.wait_for_room())
    tenants = asyncio.create_task(slots.wait_for_tenants(frozenset({A})))
    await asyncio.sleep(0)
    full.close()
    slots.close()
    assert (await room).jobs == 0
    assert not await tenants


async def test_a_pause_leaves_no_room_until_claims_are_resumed() -> None:
    slots = slots_with(8, {A: 1}, occupied=1)
    slots.pause(0.0)
    waiting = asyncio.create_task(slots.wait_for_room())
    tick = asyncio.create_task(slots.wait_while_paused())
    slots.end(job_of(A, 1))
    await asyncio.sleep(0)
    assert (slots.free, waiting.done(), tick.done()) == (0, False, False)
    slots.resume()
    assert (await waiting).jobs == 7
    await tick


async def test_an_idle_worker_may_claim_one_job_after_the_pause() -> None:
    slots = slots_with(8, {}, occupied=1)
    slots.pause(0.05)
    slots.end(job_of(C, 0))
    assert slots.free == 0
    assert (await slots.wait_for_room()).jobs == 1
    slots.start(job_of(C, 1), has_inputs=True)
    assert slots.free == 0
