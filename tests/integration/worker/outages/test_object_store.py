"""Outages of the object store: no attempt is lost, and each job is generated once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from common.domain.record import InputImage
from common.object_store.storage import Storage
from common.postgres.repositories.jobs.finish import cancel
from common.runtime.clock import utc_now
from common.settings import WorkerSettings
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.s3 import S3Server
from tests.conftest import require_server_wheels
from tests.integration.local import parts
from tests.integration.worker.harness.image_host import INIT
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.integration.worker.lifecycle.test_process import (
    SHORT,
    assert_clean_exit,
    assert_released,
    working,
)

QUICK = WorkerSettings(store_retry_seconds=0.2)
DEADLINE_SECONDS = 60.0
IMAGES_PER_JOB = 2


@dataclass(slots=True)
class Store:
    """An S3 server that a test stops and starts again."""

    server: S3Server
    supervisor: Supervisor

    async def start(self) -> None:
        await parts.start(self.supervisor, self.server)

    async def stop(self) -> None:
        await self.supervisor.stop_all()

    async def keys(self) -> set[str]:
        page = await Storage(self.server.settings()).list_page(None)
        return {found.key for found in page.objects}

    @property
    def environment(self) -> dict[str, str]:
        return {
            "INFILL_S3_ENDPOINT_URL": self.server.endpoint_url,
            "INFILL_S3_BUCKET": self.server.bucket,
            "INFILL_S3_ACCESS_KEY_ID": self.server.access_key_id,
            "INFILL_S3_SECRET_ACCESS_KEY": self.server.secret_access_key,
        }


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    require_server_wheels()
    async with Supervisor(tmp_path / "logs") as supervisor:
        store = Store(parts.s3(tmp_path), supervisor)
        await store.start()
        yield store


@pytest.fixture
def there(harness: WorkerHarness, store: Store) -> WorkerHarness:
    """A harness whose worker uses the store that the test stops."""
    return harness.replace(storage=Storage(store.server.settings()), worker_settings=QUICK)


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await condition():
            pass  # each query waits for Postgres


def waiting_images() -> dict[str, int]:
    """Return how many generated images wait in this process, by place."""
    name = "infill_images_waiting"
    values = {
        place: REGISTRY.get_sample_value(name, {"place": place}) or 0
        for place in ("memory", "file")
    }
    return {place: int(value) for place, value in values.items()}


async def assert_succeeded(harness: WorkerHarness, *jobs: int) -> None:
    for job_id in jobs:
        job = await harness.tenant.read_job(job_id)
        assert (job["state"], job["attempt"], job["max_attempts"]) == ("succeeded", 1, 3)
        assert await harness.count_records(job_id) == (1, 1)


async def test_generated_images_wait_for_the_store_while_no_job_is_claimed(
    there: WorkerHarness, store: Store
) -> None:
    bound = 1000
    settings = QUICK.model_copy(update={"waiting_image_bytes": bound})
    holds = [there.engine_control.hold_next() for _ in range(4)]
    jobs = [await there.queue_inpaint(max_attempts=3) for _ in holds]
    async with there.replace(worker_settings=settings).worker() as worker:
        running = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await there.engine_control.generation(len(holds))
        await store.stop()
        for hold in holds:
            hold.set()

        async def all_wait() -> bool:
            await there.tenant.read_job(jobs[0])
            assert worker.transfers.store.spool.bytes_in_memory <= bound
            return sum(waiting_images().values()) == len(jobs) * IMAGES_PER_JOB

        await wait_until(all_wait)
        assert waiting_images()["file"] > 0
        late = await there.queue_inpaint(max_attempts=3)
        next_run = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await worker.heartbeat.renew_leases()
        assert worker.heartbeat.claim_count == len(jobs)
        assert (await there.tenant.read_job(late))["state"] == "queued"
        assert worker.runner.slots.free == 0
        await store.start()
        assert await running + await next_run == len(jobs) + 1
    await assert_succeeded(there, *jobs, late)
    assert len(there.engine_control.generations) == len(jobs) + 1
    assert waiting_images() == {"memory": 0, "file": 0}
    assert len(await store.keys()) == (len(jobs) + 1) * IMAGES_PER_JOB


async def test_a_missing_bucket_is_waited_for(there: WorkerHarness, store: Store) -> None:
    """An operator's mistake concerns all jobs, so none of them pays for it."""
    missing = store.server.settings("missing")
    job_id = await there.queue_inpaint(max_attempts=3)
    async with there.replace(storage=Storage(missing)).worker() as worker:
        running = asyncio.create_task(worker.runner.run_waiting_jobs("one"))

        async def waits() -> bool:
            await there.tenant.read_job(job_id)
            return sum(waiting_images().values()) == IMAGES_PER_JOB

        await wait_until(waits)
        await Storage(missing).create_bucket()
        assert await running == 1
    await assert_succeeded(there, job_id)
    assert len(there.engine_control.generations) == 1


async def test_a_shutdown_during_an_outage_releases_the_job_without_costing_an_attempt(
    there: WorkerHarness, environment: dict[str, str], redis: Redis, store: Store
) -> None:
    hold = there.engine_control.hold_next()
    job_id = await there.queue_inpaint(max_attempts=3)
    async with working(environment | store.environment, SHORT) as program:
        await there.engine_control.generation()
        await store.stop()
        hold.set()
        line = await program.wait_for_event("dependency_unavailable")
        assert line["dependency"] == "object_store"
        program.process.terminate()
        await program.wait_for_event("job_released")
        await assert_clean_exit(program, there)
    await assert_released(there, redis, job_id)
    await store.start()
    async with there.worker() as other:
        await other.runner.run_waiting_jobs("one")
    job = await there.tenant.read_job(job_id)
    assert (job["state"], job["attempt"], job["max_attempts"]) == ("succeeded", 2, 4)
    assert len(there.engine_control.generations) == 2


async def test_canceling_a_job_ends_the_wait_of_its_images(
    there: WorkerHarness, store: Store
) -> None:
    hold = there.engine_control.hold_next()
    job_id = await there.queue_inpaint()
    async with there.worker() as worker:
        running = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await there.engine_control.generation()
        await store.stop()
        hold.set()

        async def waits() -> bool:
            await there.tenant.read_job(job_id)
            return sum(waiting_images().values()) == IMAGES_PER_JOB

        await wait_until(waits)
        async with there.database.statement() as connection:
            assert await cancel(connection, tenant_id=there.tenant.tenant_id, job_id=job_id)
        await worker.heartbeat.renew_leases()
        assert await running == 1
    assert waiting_images() == {"memory": 0, "file": 0}
    assert (await there.tenant.read_job(job_id))["state"] == "canceled"
    await store.start()
    assert await store.keys() == set()


async def test_a_job_whose_inputs_cannot_be_read_is_released_without_costing_an_attempt(
    there: WorkerHarness, store: Store
) -> None:
    await there.storage.put("inputs/image", INIT)
    stored = there.input_images() | {"init_image": InputImage(object_key="inputs/image")}
    await store.stop()
    job_id = await there.queue_inpaint(inputs=stored, max_attempts=3)
    patient = QUICK.model_copy(update={"store_retry_seconds": 600.0})
    async with there.replace(worker_settings=patient).worker() as worker:
        assert await worker.runner.run_waiting_jobs("one") == 1
        job = await there.tenant.read_job(job_id)
        assert (job["state"], job["attempt"], job["max_attempts"]) == ("queued", 1, 4)
        assert job["error_code"] is None
        assert (job["available_at"] - utc_now()).total_seconds() > 300
        await store.start()
        await there.tenant.set_job(job_id, available_at=utc_now())
        assert await worker.runner.run_waiting_jobs("one") == 1
        assert worker.runner.slots.free == patient.concurrency
    job = await there.tenant.read_job(job_id)
    assert (job["state"], job["attempt"], job["max_attempts"]) == ("succeeded", 2, 4)
    assert len(there.engine_control.generations) == 1


async def test_a_job_is_released_when_its_images_have_waited_for_too_long(
    there: WorkerHarness, store: Store
) -> None:
    await store.stop()
    brief = WorkerSettings(store_retry_seconds=600.0, store_wait_seconds=0.1)
    job_id = await there.queue_inpaint(max_attempts=3)
    async with there.replace(worker_settings=brief).worker() as worker:
        assert await worker.runner.run_waiting_jobs("one") == 1
    job = await there.tenant.read_job(job_id)
    assert (job["state"], job["attempt"], job["max_attempts"]) == ("queued", 1, 4)
    assert waiting_images() == {"memory": 0, "file": 0}
