"""The run time limit: past it a job has failed, whatever hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Event

import pytest

from common.domain.errors import GenerationStoppedError, RunTimeExceededError
from common.domain.record import InputImage
from common.object_store.storage import Storage
from common.postgres.models import Delivery
from common.settings import JobSettings, StorageSettings
from deploy.local.servers.ports import LOOPBACK
from tests.integration.worker.harness.engine import ControlledEngine
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.support.generation_request import job_record
from worker.attempt import Attempt
from worker.engine.images.inputs import InputImages
from worker.engine_pool import EnginePool
from worker.progress import ProgressReporter

BRIEF = JobSettings(max_run_seconds=0.3)
# Long enough, on busy cores too, for a job that is not held.
PATIENT = JobSettings(max_run_seconds=2.0)
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class SilentStore:
    settings: StorageSettings
    address: str
    asked: asyncio.Event


@asynccontextmanager
async def silent_store(bucket: StorageSettings) -> AsyncIterator[SilentStore]:
    """Accept connections and never respond."""
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


@dataclass(frozen=True, slots=True)
class FullEngine:
    """A pool whose engine starts nothing before `room` is set."""

    engine_pool: EnginePool
    room: Event


async def assert_run_time_exceeded(harness: WorkerHarness, job_id: int, limit: str = "0.3") -> None:
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert job["error_code"] == "run_time_exceeded"
    assert job["error_message"] == f"the job ran longer than the limit of {limit} seconds"
    (delivery,) = [
        row for row in await harness.tenant.read_rows(Delivery) if row["job_id"] == job_id
    ]
    assert delivery["event"] == "job.failed"


async def test_a_fetch_that_hangs_fails_the_job_at_its_limit(harness: WorkerHarness) -> None:
    harness.image_host.hold("init.png")
    job_id = await harness.queue_inpaint()
    async with harness.replace(jobs=BRIEF).worker() as worker:
        assert await worker.runner.run_waiting_jobs("one") == 1
    await assert_run_time_exceeded(harness, job_id)


async def test_an_object_store_that_hangs_fails_the_job_at_its_limit(
    harness: WorkerHarness, bucket: StorageSettings
) -> None:
    async with silent_store(bucket) as store:
        storage = Storage(store.settings)
        stored = {"init_image": InputImage(object_key="inputs/x")}
        job_id = await harness.queue_inpaint(inputs=harness.input_images() | stored)
        async with harness.replace(jobs=BRIEF, storage=storage).worker() as worker:
            await worker.runner.run_waiting_jobs("one")
        await assert_run_time_exceeded(harness, job_id)


async def test_a_generation_past_its_limit_is_stopped_and_the_engine_goes_on(
    harness: WorkerHarness,
) -> None:
    harness.engine_control.hold_next()
    jobs = [await harness.queue_text2img() for _ in range(2)]
    async with harness.replace(jobs=PATIENT).worker() as worker:
        assert await worker.runner.run_waiting_jobs("one") == 2
    rows = [await harness.tenant.read_job(job_id) for job_id in jobs]
    (failed,) = [row["id"] for row in rows if row["state"] == "failed"]
    await assert_run_time_exceeded(harness, failed, "2")
    assert [row["state"] for row in rows if row["id"] != failed] == ["succeeded"]
    assert [order.stopped for order in harness.engine_control.generations] == [True, False]


async def test_a_stopped_attempt_does_not_stop_another_in_the_engine(
    harness: WorkerHarness,
) -> None:
    """Both are in the engine together; one exceeds its limit, the other goes on."""
    holds = [harness.engine_control.hold_next() for _ in range(2)]
    engine = ControlledEngine(harness.engine_control.folder)
    engine_pool = EnginePool(engine, ProgressReporter(harness.redis), threads=2, stuck_seconds=HOUR)
    patient = Attempt(job_record(), max_run_seconds=HOUR)
    hasty = Attempt(job_record(), max_run_seconds=0.3)
    generating = asyncio.create_task(engine_pool.generate(patient, InputImages()))
    await harness.engine_control.generation()
    with pytest.raises(RunTimeExceededError):
        await engine_pool.generate(hasty, InputImages())
    await harness.engine_control.wait_until(lambda: harness.engine_control.generations[1].stopped)
    assert harness.engine_control.most_at_once == 2
    holds[0].set()
    assert len((await generating).images) == job_record().request.samples
    engine_pool.close()


@pytest.fixture
async def full(harness: WorkerHarness) -> AsyncIterator[FullEngine]:
    """An engine that is full."""
    progress_reporter, room = ProgressReporter(harness.redis), Event()
    engine = ControlledEngine(harness.engine_control.folder, room=room)
    engine_pool = EnginePool(engine, progress_reporter, threads=2, stuck_seconds=HOUR)
    yield FullEngine(engine_pool, room)
    room.set()
    engine_pool.close()


async def test_waiting_for_the_engine_does_not_count(full: FullEngine) -> None:
    hasty = Attempt(job_record(), max_run_seconds=0)
    generating = asyncio.create_task(full.engine_pool.generate(hasty, InputImages()))
    for _ in range(20):  # a timer of zero seconds would have fired
        await asyncio.sleep(0)
    assert hasty.reason is None
    full.room.set()
    with pytest.raises(RunTimeExceededError):
        await generating


async def test_an_attempt_waiting_for_the_engine_stops_at_once(full: FullEngine) -> None:
    attempt = Attempt(job_record(), max_run_seconds=HOUR)
    generating = asyncio.create_task(full.engine_pool.generate(attempt, InputImages()))
    await asyncio.sleep(0)
    attempt.stop_for_shutdown(grace_seconds=HOUR)
    with pytest.raises(GenerationStoppedError):
        await generating
    assert not full.engine_pool.stuck.is_set()
