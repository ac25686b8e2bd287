"""A worker process inside the test: polling, errors, health endpoints and shutdown."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from common.domain.errors import ConfigurationError
from common.postgres.models import Worker
from common.settings import (
    DatabaseSettings,
    JobSettings,
    RedisSettings,
    Settings,
    StorageSettings,
    TelemetrySettings,
    WorkerSettings,
)
from deploy.local.processes.readiness import wait_until_ready
from deploy.local.servers.ports import free_port
from tests.conftest import Servers
from tests.integration.dispatcher.conftest import LOOPBACK_OPEN
from tests.integration.dispatcher.test_process import get
from tests.integration.worker.harness.engine import ControlledEngine
from tests.integration.worker.harness.worker_harness import QUEUES, WorkerHarness
from tests.integration.worker.outages.test_outages import NOWHERE, closed
from worker.process import WorkerProcess


@pytest.fixture
def settings(database_url: str, redis_url: str, bucket: StorageSettings) -> Settings:
    """Settings with frequent polls and heartbeats: these tests do not ring."""
    settings = Settings()
    settings.database = DatabaseSettings(url=SecretStr(database_url))
    settings.redis = RedisSettings(url=SecretStr(redis_url))
    settings.storage = bucket
    settings.outbound = LOOPBACK_OPEN
    settings.jobs = JobSettings(sweep_seconds=0.05, heartbeat_seconds=0.05)
    settings.telemetry = TelemetrySettings()
    return settings


@asynccontextmanager
async def running(settings: Settings, harness: WorkerHarness) -> AsyncIterator[WorkerProcess]:
    """Run a worker process while the block lasts; a thread waits for its start and its end."""
    engine = ControlledEngine(harness.engine_control.folder)
    runtime = WorkerProcess(settings, engine, worker="w1", queues=QUEUES)
    await asyncio.to_thread(runtime.__enter__)
    try:
        yield runtime
    finally:
        await asyncio.to_thread(runtime.__exit__, None, None, None)


async def wait_for_log(lines: Sequence[Mapping[str, Any]], event: str) -> None:
    async def is_logged() -> bool:
        return any(line["event"] == event for line in lines)

    await wait_until_ready(is_logged, event, 20)


async def test_a_worker_runs_waiting_jobs_by_polling_and_after_a_ring(
    settings: Settings, harness: WorkerHarness
) -> None:
    async with running(settings, harness) as runtime:
        await harness.queue_inpaint(asked={"model": "two"})
        await harness.engine_control.generation()
    settings.jobs = JobSettings(sweep_seconds=3600)
    async with running(settings, harness) as runtime:
        await harness.queue_inpaint(asked={"model": "two"})
        await asyncio.to_thread(runtime.claim_waiting_jobs, "two")
    jobs = [await harness.tenant.read_job(number) for number in (1, 2)]
    assert [job["state"] for job in jobs] == ["succeeded"] * 2
    assert await harness.tenant.read_rows(Worker) == []


async def test_shutdown_waits_for_the_running_job(
    settings: Settings, harness: WorkerHarness
) -> None:
    hold = harness.engine_control.hold_next()
    job_id = await harness.queue_inpaint()
    with capture_logs() as lines:
        async with running(settings, harness) as runtime:
            await harness.engine_control.generation()
            runtime.begin_shutdown()
            await wait_for_log(lines, "worker_stopping")
            hold.set()
    assert (await harness.tenant.read_job(job_id))["state"] == "succeeded"
    runtime.begin_shutdown()  # a signal that comes late


async def test_a_shutdown_without_a_signal_releases_long_jobs(
    settings: Settings, harness: WorkerHarness
) -> None:
    """Celery may end by itself; its jobs must not wait for their leases to expire."""
    harness.engine_control.hold_next()
    settings.worker = settings.worker.model_copy(update={"shutdown_seconds": 0.05})
    job_id = await harness.queue_inpaint()
    async with running(settings, harness):
        await harness.engine_control.generation()
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"], job["max_attempts"]) == ("queued", 1, 4)


async def test_a_job_claimed_during_the_release_is_released_at_once(harness: WorkerHarness) -> None:
    async with harness.worker() as worker:
        worker.runner.release_jobs()
        harness.image_host.hold("init.png")
        job_id = await harness.queue_inpaint()
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        async with asyncio.timeout(20):
            while not (await harness.tenant.read_job(job_id))["attempt"]:
                pass  # each query waits for Postgres
        worker.runner.stop_claiming()
        await running_jobs
    assert (await harness.tenant.read_job(job_id))["state"] == "queued"


async def test_a_second_release_changes_nothing(harness: WorkerHarness) -> None:
    """A second signal may come while a canceled fetch is still cleaning up."""
    # With a free slot a claim under way might claim it again, and release it once more.
    async with harness.replace(worker_settings=WorkerSettings(concurrency=1)).worker() as worker:
        harness.image_host.hold("init.png")
        job_id = await harness.queue_inpaint()
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        async with asyncio.timeout(20):
            while not worker.heartbeat.claim_count:  # noqa: ASYNC110 - a claim sets no event
                await asyncio.sleep(0)
        worker.runner.stop_claiming()
        worker.runner.release_jobs()
        await asyncio.sleep(0)  # the fetch is being canceled, and has not noticed yet
        worker.runner.release_jobs()
        await running_jobs
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["max_attempts"]) == ("queued", 4)


async def test_an_outage_of_postgres_is_survived(
    settings: Settings, harness: WorkerHarness, servers: Servers, database_url: str
) -> None:
    with capture_logs() as lines:
        async with running(settings, harness):
            async with closed(servers, database_url.rpartition("/")[2]):
                await wait_for_log(lines, "dependency_unavailable")
            await wait_for_log(lines, "dependency_available")
            await harness.database.aclose()
            await harness.queue_inpaint()
            await harness.engine_control.generation()
    events = [line["event"] for line in lines]
    assert events.count("dependency_unavailable") == events.count("dependency_available") == 1
    assert not [line for line in lines if line.get("exc_info")]


async def test_an_unexpected_error_is_logged_with_its_traceback_and_survived(
    settings: Settings, harness: WorkerHarness
) -> None:
    async def rename(table: str, name: str) -> None:
        async with harness.database.statement() as connection:
            await connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))

    with capture_logs() as lines:
        async with running(settings, harness) as runtime:
            for table, event in (("jobs", "job_loop_failed"), ("workers", "heartbeat_failed")):
                await rename(table, "hidden")
                await wait_for_log(lines, event)
                await rename("hidden", table)
            await rename("jobs", "hidden")
            await asyncio.to_thread(runtime.claim_waiting_jobs, "one")  # Celery's thread survives
            await rename("hidden", "jobs")
            await harness.queue_inpaint()
            await harness.engine_control.generation()
    failed = [line for line in lines if line["event"] in {"job_loop_failed", "heartbeat_failed"}]
    assert all(line["exc_info"] for line in failed)


async def test_a_worker_serves_its_health(
    settings: Settings, harness: WorkerHarness, servers: Servers, database_url: str
) -> None:
    port = free_port()
    settings.telemetry = TelemetrySettings(status_port=port)
    await harness.queue_inpaint()
    async with running(settings, harness):
        await harness.engine_control.generation()
        for page in ("healthz", "readyz"):
            response = await asyncio.to_thread(get, f"http://127.0.0.1:{port}/{page}")
            assert json.loads(response) == {"status": "ok"}
        metrics = await asyncio.to_thread(get, f"http://127.0.0.1:{port}/metrics")
        async with closed(servers, database_url.rpartition("/")[2]):
            with pytest.raises(OSError, match="503"):
                await asyncio.to_thread(get, f"http://127.0.0.1:{port}/readyz")
            await asyncio.to_thread(get, f"http://127.0.0.1:{port}/healthz")
    for name in ("infill_jobs_ended", "infill_queue_wait_seconds", "infill_stage_seconds"):
        assert f"# TYPE {name}" in metrics
    assert 'infill_stage_seconds_count{stage="fetch"}' in metrics
    await harness.database.aclose()


async def test_a_worker_ends_although_postgres_is_unavailable(
    settings: Settings, harness: WorkerHarness
) -> None:
    settings.database = DatabaseSettings(url=SecretStr(NOWHERE))
    async with running(settings, harness) as runtime:
        await asyncio.to_thread(runtime.claim_waiting_jobs, "one")
    assert await harness.tenant.read_rows(Worker) == []


async def test_a_start_that_fails_leaves_no_thread(
    settings: Settings, harness: WorkerHarness
) -> None:
    port = free_port()
    settings.telemetry = TelemetrySettings(status_port=port)
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", port):
        with pytest.raises(ConfigurationError, match="INFILL_STATUS_PORT"):
            async with running(settings, harness):
                pass
    assert "loop" not in {thread.name for thread in threading.enumerate()}
