"""Which jobs may be claimed beside a suspect."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.domain.job import WORKER_LOST
from common.domain.record import JobRecord
from tests.support.generation_request import job_record
from worker.quarantine import Admitted, Quarantine, is_suspect

ORDINARY, SUSPECT = job_record(), job_record(error_code=WORKER_LOST)


@pytest.mark.parametrize(
    ("code", "suspect"), [(None, False), ("generation_failed", False), (WORKER_LOST, True)]
)
def test_a_job_whose_last_attempt_lost_its_worker_is_a_suspect(
    code: str | None, *, suspect: bool
) -> None:
    assert is_suspect(job_record(error_code=code)) is suspect


class House:
    """Counts who is in, and lets each go when told."""

    def __init__(self) -> None:
        self.quarantine = Quarantine()
        self.claims = 0

    async def claim(self, *jobs: JobRecord) -> list[Admitted]:
        self.claims += 1
        await asyncio.sleep(0)
        return [(job, 3) for job in jobs]

    @asynccontextmanager
    async def guest(self, *jobs: JobRecord) -> AsyncIterator[asyncio.Event]:
        """Keep somebody in while the block lasts, who leaves early when the event is set."""
        leave = asyncio.Event()

        async def stay() -> None:
            admitted = await self.quarantine.admit(lambda: self.claim(*jobs))
            await leave.wait()
            for job, _ in admitted:
                self.quarantine.ended(job)

        staying = asyncio.create_task(stay())
        await settled()
        try:
            yield leave
        finally:
            leave.set()
            await staying


async def settled() -> None:
    """Let every task go as far as it can: nothing here waits for anything but each other."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_ordinary_jobs_come_one_after_the_other_and_stay_together() -> None:
    house = House()
    async with house.guest(ORDINARY), house.guest(ORDINARY, ORDINARY), house.guest():
        assert house.claims == 3


async def test_nothing_is_claimed_beside_a_suspect() -> None:
    house = House()
    async with house.guest(SUSPECT) as leave, house.guest(ORDINARY):
        assert house.claims == 1
        leave.set()
        await settled()
        assert house.claims == 2


async def test_a_suspect_waits_for_the_jobs_claimed_before_it() -> None:
    house = House()
    async with (
        house.guest(ORDINARY, ORDINARY) as first,
        house.guest(ORDINARY) as second,
        house.guest(SUSPECT),
    ):
        alone = asyncio.create_task(house.quarantine.alone())
        for leave in (first, second):
            await settled()
            assert not alone.done()
            leave.set()
        await asyncio.wait_for(alone, 20)


async def test_a_claim_that_failed_leaves_the_gate_open() -> None:
    house = House()

    async def fail() -> list[Admitted]:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await house.quarantine.admit(fail)
    async with house.guest(ORDINARY):
        assert house.claims == 1
