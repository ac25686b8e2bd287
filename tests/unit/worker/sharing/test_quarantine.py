"""Which jobs may be claimed beside a suspect."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.domain.record import ClaimedJob
from tests.support.generation_request import job_record
from worker.sharing.quarantine import Quarantine

ORDINARY, SUSPECT = (ClaimedJob(job_record(), 3, suspect) for suspect in (False, True))


class QuarantineHarness:
    """Counts the claims made through a quarantine, and ends jobs on request."""

    def __init__(self) -> None:
        self.quarantine = Quarantine()
        self.claims = 0

    async def claim(self, *jobs: ClaimedJob) -> list[ClaimedJob]:
        self.claims += 1
        await asyncio.sleep(0)
        return list(jobs)

    @asynccontextmanager
    async def hold(self, *jobs: ClaimedJob) -> AsyncIterator[asyncio.Event]:
        """Claim jobs and hold them while the block lasts, or until the yielded event is set."""
        release = asyncio.Event()

        async def stay() -> None:
            admitted = await self.quarantine.admit(lambda: self.claim(*jobs))
            await release.wait()
            for job in admitted:
                self.quarantine.ended(job)

        staying = asyncio.create_task(stay())
        await settled()
        try:
            yield release
        finally:
            release.set()
            await staying


async def settled() -> None:
    """Let every task run until all of them wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_ordinary_jobs_come_one_after_the_other_and_stay_together() -> None:
    harness = QuarantineHarness()
    async with harness.hold(ORDINARY), harness.hold(ORDINARY, ORDINARY), harness.hold():
        assert harness.claims == 3


async def test_nothing_is_claimed_beside_a_suspect() -> None:
    harness = QuarantineHarness()
    async with harness.hold(SUSPECT) as release, harness.hold(ORDINARY):
        assert harness.claims == 1
        release.set()
        await settled()
        assert harness.claims == 2


async def test_a_suspect_waits_for_the_jobs_claimed_before_it() -> None:
    harness = QuarantineHarness()
    async with (
        harness.hold(ORDINARY, ORDINARY) as first,
        harness.hold(ORDINARY) as second,
        harness.hold(SUSPECT),
    ):
        alone = asyncio.create_task(harness.quarantine.alone())
        for release in (first, second):
            await settled()
            assert not alone.done()
            release.set()
        await asyncio.wait_for(alone, 20)


async def test_a_claim_that_failed_leaves_the_gate_open() -> None:
    harness = QuarantineHarness()

    async def fail() -> list[ClaimedJob]:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await harness.quarantine.admit(fail)
    async with harness.hold(ORDINARY):
        assert harness.claims == 1
