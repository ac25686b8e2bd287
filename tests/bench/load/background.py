"""Other load on a database while workers claim: readers, new jobs, the sweeper."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from common.domain.generation import Endpoint, GenerationRequest
from common.domain.record import InputImage, NewJob
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.recount import mark_ready_tenants, recount_running
from common.postgres.repositories.jobs.read import read_job
from common.postgres.repositories.jobs.record import record_job
from common.postgres.repositories.maintenance.expire import fail_abandoned
from common.postgres.repositories.maintenance.requeue import (
    count_claimable,
    count_jobs,
    requeue_expired,
    requeue_expired_deliveries,
)
from common.runtime.clock import monotonic
from tests.bench.data.ended_jobs import QUEUE, TENANTS

FETCHERS: Final = 4
FETCH_PAUSE_SECONDS: Final = 0.02
SUBMIT_PAUSE_SECONDS: Final = 0.02
SWEEP_PAUSE_SECONDS: Final = 2.0  # as INFILL_JOB_SWEEP_SECONDS
BATCH: Final = 500  # as the sweeper's
MILLISECONDS: Final = 1000
REQUEST: Final = GenerationRequest(
    endpoint=Endpoint.INPAINT,
    model=QUEUE,
    prompt="a cat sitting on a bench, wildlife photograph, golden backlight, fine fur " * 2,
    negative_prompt="blurry",
    width=512,
    height=512,
    samples=1,
    inference_steps=30,
    guidance_scale=7.5,
    strength=0.7,
    seed=7,
)


@dataclass(frozen=True, slots=True)
class BackgroundLoad:
    """Load on one database with `ended` jobs of `tenants`, as inserted by `fill`."""

    database: Database
    tenants: Sequence[int]
    ended: int

    @asynccontextmanager
    async def running(self) -> AsyncIterator[list[float]]:
        """Fetch, submit and sweep at an ordinary pace while the block lasts.

        Yields the list that collects the milliseconds of each fetch.
        """
        fetches: list[float] = []
        loops = [*(self._fetch(fetches) for _ in range(FETCHERS)), self._submit(), self._sweep()]
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield fetches
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _fetch(self, times: list[float]) -> None:
        while True:
            job_id = random.randint(1, self.ended)
            tenant_id = self.tenants[job_id % TENANTS]
            begun = monotonic()
            async with self.database.direct() as connection:
                view = await read_job(connection, tenant_id=tenant_id, job_id=job_id)
            times.append((monotonic() - begun) * MILLISECONDS)
            assert view is not None
            await asyncio.sleep(FETCH_PAUSE_SECONDS)

    async def _submit(self) -> None:
        while True:
            new = NewJob(
                tenant_id=random.choice(self.tenants),
                file_prefix=uuid4(),
                queue=QUEUE,
                request=REQUEST,
                inputs={"init_image": InputImage(url="https://images.test/new.png")},
                base64=False,
                max_attempts=3,
                webhook_url="https://tenant.test/hook",
            )
            async with self.database.direct() as connection:
                await record_job(connection, new)
            await asyncio.sleep(SUBMIT_PAUSE_SECONDS)

    async def _sweep(self) -> None:
        while True:
            async with self.database.statement() as connection:
                await requeue_expired(connection, limit=BATCH)
                await fail_abandoned(connection, limit=BATCH)
                await requeue_expired_deliveries(connection, limit=BATCH)
                await recount_running(connection)
                await mark_ready_tenants(connection)
                await count_claimable(connection, [QUEUE], at_most=100)
                await count_jobs(connection)
            await asyncio.sleep(SWEEP_PAUSE_SECONDS)
