"""What an attempt may take: past it the job has failed, whatever hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from worker.engine_thread import EngineThread

from common.domain.errors import RunTimeExceededError
from common.domain.record import InputImage
from common.models import Delivery
from common.settings import JobSettings, StorageSettings, WorkerSettings
from common.storage import Storage
from deploy.local.ports import LOOPBACK
from tests.integration.worker.engine import StudioEngine
from tests.integration.worker.workshop import Workshop
from tests.unit.common.domain.sample import job_record
from worker.attempt import Attempt
from worker.generation.pixels import Pixels

BRIEF = JobSettings(max_run_seconds=0.3)
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class SilentStore:
    settings: StorageSettings
    address: str
    asked: asyncio.Event


@asynccontextmanager
async def silent_store(bucket: StorageSettings) -> AsyncIterator[SilentStore]:
    """Listen, take everything in and answer nothing."""
    over, asked = asyncio.Event(), asyncio.Event()

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(listen, LOOPBACK, 0)
    address = f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    try:
        yield SilentStore(bucket.model_copy(update={"endpoint_url": address}), address, asked)
    finally:
        server.close()
        over.set()


async def failed_for_its_time(workshop: Workshop, job_id: int) -> None:
    job = await workshop.books.job(job_id)
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert job["error_code"] == "run_time_exceeded"
    assert job["error_message"] == "the job ran longer than the limit of 0.3 seconds"
    (delivery,) = [row for row in await workshop.books.rows(Delivery) if row["job_id"] == job_id]
    assert delivery["event"] == "job.failed"


async def test_a_picture_that_does_not_come(workshop: Workshop) -> None:
    workshop.gallery.hold("init.png")
    job_id = await workshop.queued()
    async with workshop.having(jobs=BRIEF).worker() as worker:
        assert await worker.runner.look("one") == 1
    await failed_for_its_time(workshop, job_id)


@pytest.mark.parametrize("stage", ["fetch", "upload"])
async def test_a_store_that_hangs(workshop: Workshop, bucket: StorageSettings, stage: str) -> None:
    async with silent_store(bucket) as store:
        storage = Storage(store.settings)
        stored = {"init_image": InputImage(object_key="inputs/x")}
        inputs = {"fetch": workshop.pictures() | stored, "upload": workshop.pictures()}
        job_id = await workshop.queued(inputs=inputs[stage])
        async with workshop.having(jobs=BRIEF, storage=storage).worker() as worker:
            await worker.runner.look("one")
        await failed_for_its_time(workshop, job_id)


async def test_a_generation_that_takes_too_long_is_stopped_and_the_engine_draws_on(
    workshop: Workshop,
) -> None:
    workshop.studio.hold_next()
    job_id = await workshop.drawing()
    other = await workshop.drawing()
    async with workshop.having(jobs=BRIEF).worker() as worker:
        assert await worker.runner.look("one") == 2
    await failed_for_its_time(workshop, job_id)
    assert (await workshop.studio.order()).stopped
    assert (await workshop.books.job(other))["state"] == "succeeded"


async def test_waiting_for_the_engine_does_not_count(workshop: Workshop) -> None:
    hold = workshop.studio.hold_next()
    engine = EngineThread(StudioEngine(workshop.studio.folder), stuck_seconds=HOUR)
    patient = Attempt(job_record(), max_run_seconds=HOUR)
    hasty = Attempt(job_record(), max_run_seconds=0)
    first = asyncio.create_task(engine.draw(patient, Pixels()))
    await workshop.studio.order()
    second = asyncio.create_task(engine.draw(hasty, Pixels()))
    for _ in range(20):  # any timer of its own would have gone off
        await asyncio.sleep(0)
    assert hasty.reason is None
    hold.set()
    await first
    with pytest.raises(RunTimeExceededError):
        await second
    engine.close()


async def test_who_waits_for_the_engine_leaves_at_once(workshop: Workshop) -> None:
    workshop.studio.hold_next()
    jobs = [await workshop.drawing() for _ in range(2)]
    places = WorkerSettings(stuck_seconds=HOUR)
    async with workshop.having(places=places).worker() as worker:
        first = asyncio.create_task(worker.runner.look("one"))
        await workshop.studio.order()
        second = asyncio.create_task(worker.runner.look("one"))
        async with asyncio.timeout(20):
            while worker.heartbeat.held < 2:  # noqa: ASYNC110 - a claim sets no event
                await asyncio.sleep(0)
        worker.runner.stop_claiming()
        worker.runner.give_back()
        await second
        await first
    rows = [await workshop.books.job(job_id) for job_id in jobs]
    assert [(row["state"], row["max_attempts"]) for row in rows] == [("queued", 4)] * 2
    assert len(workshop.studio.orders) == 1
