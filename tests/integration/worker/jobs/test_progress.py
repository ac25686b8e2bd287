"""Progress of a generation: written to Redis, never to Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from pathlib import Path
from uuid import UUID

import pytest
from PIL import Image
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text
from structlog.testing import capture_logs

from common.domain.generation import GenerationRequest
from common.domain.record import JobRecord
from common.messaging.connection import connect
from common.messaging.progress import AttemptName, JobProgress, read_progress
from common.runtime.clock import utc_now
from common.settings import RedisSettings
from deploy.local.servers.ports import free_port
from tests.integration.worker.harness.engine import STEPS, ControlledEngine
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.support.generation_request import job_record
from worker.engine.images.inputs import InputImages
from worker.engine.interface import (
    NO_CALLBACK,
    GenerationCallback,
    Progress,
)
from worker.progress import ProgressReporter

DEADLINE_SECONDS = 20


@asynccontextmanager
async def writing(progress_reporter: ProgressReporter) -> AsyncIterator[None]:
    task = asyncio.create_task(progress_reporter.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def wait_until(so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await so():
            pass  # each query waits for Redis


async def read_job_progress(redis: Redis, prefix: UUID) -> JobProgress | None:
    return await read_progress(redis, AttemptName(prefix, 1), preview=True)


async def latest_writes(harness: WorkerHarness) -> object:
    """Return the last transactions that wrote to the tables that workers write to."""
    async with harness.database.statement() as connection:
        rows = await connection.execute(
            text(
                "SELECT (SELECT array_agg(xmin ORDER BY id) FROM jobs),"
                " (SELECT array_agg(xmin) FROM tenant_queues),"
                " (SELECT array_agg(xmin) FROM tenant_shares), (SELECT count(*) FROM workers)"
            )
        )
        return rows.one()


async def test_steps_and_a_preview_are_reported_without_a_write_to_postgres(
    harness: WorkerHarness, redis: Redis
) -> None:
    hold = harness.engine_control.hold_next()
    prefix = (await harness.tenant.read_job(await harness.queue_text2img()))["file_prefix"]
    async with harness.worker() as worker, writing(worker.progress_reporter):
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation()
        before = await latest_writes(harness)
        seen: list[JobProgress] = []

        async def at_the_last_step() -> bool:
            if (reported := await read_job_progress(redis, prefix)) is not None:
                seen.append(reported)
            return bool(seen) and seen[-1].step == STEPS

        await wait_until(at_the_last_step)
        assert await latest_writes(harness) == before
        assert {reported.steps for reported in seen} == {STEPS}
        steps = [reported.step for reported in seen]
        assert steps == sorted(steps)
        assert len(set(steps)) > 1
        preview = Image.open(BytesIO(seen[-1].preview or b""))
        assert (preview.format, preview.size) == ("JPEG", (8, 8))
        assert 0 < await redis.ttl(AttemptName(prefix, 1).key) <= 60
        hold.set()
        await running_jobs

        async def is_deleted() -> bool:
            return await read_job_progress(redis, prefix) is None

        await wait_until(is_deleted)


class PacedEngine(ControlledEngine):
    """An engine whose first 46 of 70 steps take 1.5 s each, on the clock of `worker.progress`."""

    def __init__(self, folder: Path, clock: list[float]) -> None:
        super().__init__(folder)
        self._clock = clock

    def _ask(
        self, request: GenerationRequest, inputs: InputImages, callback: GenerationCallback
    ) -> str:
        for step in range(1, 47):
            self._clock[0] += 1.5
            callback.on_step(Progress(step, 70))
        return super()._ask(request, inputs, NO_CALLBACK)


async def test_the_duration_of_steps_is_reported(
    harness: WorkerHarness, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("worker.progress.monotonic", lambda: clock[0])
    engine = PacedEngine(harness.engine_control.folder, clock)
    hold = harness.engine_control.hold_next()
    before = utc_now().timestamp()
    prefix = (await harness.tenant.read_job(await harness.queue_text2img()))["file_prefix"]
    async with harness.worker(engine=engine) as worker, writing(worker.progress_reporter):
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))

        async def at_the_last_reported_step() -> bool:
            reported = await read_job_progress(redis, prefix)
            return reported is not None and reported.step == 46

        await wait_until(at_the_last_reported_step)
        reported = await read_job_progress(redis, prefix)
        assert reported is not None
        assert (reported.steps, reported.step_seconds) == (70, 1.5)
        assert before <= (reported.at or 0) <= utc_now().timestamp()
        hold.set()
        await running_jobs


async def test_the_progress_is_kept_until_the_images_are_stored(
    harness: WorkerHarness, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, a caller could not tell an upload from a generation that has not begun."""
    hold = harness.engine_control.hold_next()
    prefix = (await harness.tenant.read_job(await harness.queue_text2img()))["file_prefix"]
    seen: list[JobProgress | None] = []
    async with harness.worker() as worker, writing(worker.progress_reporter):
        upload = worker.transfers.upload

        async def look_and_upload(job: JobRecord, images: list[bytes]) -> tuple[str, ...]:
            seen.append(await read_job_progress(redis, prefix))
            return await upload(job, images)

        monkeypatch.setattr(worker.transfers, "upload", look_and_upload)
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))

        async def is_reported() -> bool:
            return await read_job_progress(redis, prefix) is not None

        await wait_until(is_reported)
        hold.set()
        await running_jobs
    assert [reported and reported.steps for reported in seen] == [STEPS]


async def test_a_cancellation_that_the_redis_client_swallows_ends_the_writer(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def swallow(*_written: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

    monkeypatch.setattr("worker.progress.write_progress", swallow)
    reporter = ProgressReporter(redis)
    task = asyncio.create_task(reporter.run())
    reporter.callback(job_record())(Progress(1, 2))
    async with asyncio.timeout(DEADLINE_SECONDS):
        await task


async def test_a_job_with_the_safety_checker_has_no_preview(
    harness: WorkerHarness, redis: Redis
) -> None:
    hold = harness.engine_control.hold_next()
    job_id = await harness.queue_text2img(safety_checker=True)
    prefix = (await harness.tenant.read_job(job_id))["file_prefix"]
    async with harness.worker() as worker, writing(worker.progress_reporter):
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))

        async def reported() -> bool:
            return await read_job_progress(redis, prefix) is not None

        await wait_until(reported)
        progress = await read_job_progress(redis, prefix)
        assert progress is not None
        assert progress.preview is None
        hold.set()
        await running_jobs


async def test_without_redis_progress_is_dropped_and_delays_nothing(harness: WorkerHarness) -> None:
    nowhere = RedisSettings(url=SecretStr(f"redis://127.0.0.1:{free_port()}/0"))
    async with connect(nowhere) as unavailable:
        hold = harness.engine_control.hold_next()
        job_id = await harness.queue_text2img()
        with capture_logs() as lines:
            async with (
                harness.replace(redis=unavailable).worker() as worker,
                writing(worker.progress_reporter),
            ):
                running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while "dependency_unavailable" not in {line["event"] for line in lines}:  # noqa: ASYNC110
                        await asyncio.sleep(0)
                hold.set()
                await running_jobs
    assert (await harness.tenant.read_job(job_id))["state"] == "succeeded"
    assert [line["event"] for line in lines].count("dependency_unavailable") == 1
