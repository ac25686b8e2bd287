"""Progress of a generation: written to Redis, never to Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from uuid import UUID

from PIL import Image
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text
from structlog.testing import capture_logs

from common.messaging.connection import connect
from common.messaging.progress import AttemptName, JobProgress, read_progress
from common.settings import RedisSettings
from deploy.local.servers.ports import free_port
from tests.integration.worker.harness.engine import STEPS
from tests.integration.worker.harness.worker_harness import WorkerHarness
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
