"""The eta of a running job follows its own steps; that of a queued job includes all its stages."""

import pytest
from pydantic import SecretStr

from common.domain.record import JobRecord
from common.messaging.progress import AttemptName, JobProgress, write_progress
from common.postgres.repositories.jobs.workers import record_worker_heartbeat
from common.runtime.clock import utc_now
from common.settings import RedisSettings, Settings
from deploy.local.servers.ports import free_port
from tests.integration.api.gateways import QUEUE, Gateway, open_gateway
from tests.integration.api.v3.test_fetch import age_caches
from tests.support.requests import INPAINT_BODY

MEGAPIXEL = {**INPAINT_BODY, "width": 1000, "height": 1000, "num_inference_steps": 40}
GENERATION = 40.0
# 4 s to fetch, 3 s to decode and 2 s to upload.
TIMELINE = {"claimed": 0.0, "fetched": 4.0, "denoised": 41.0, "generated": 44.0, "uploaded": 46.0}


async def run_measured_job(gateway: Gateway) -> None:
    """Run a job of 40 s, by which the model is measured, on the only worker."""
    async with gateway.services.operator_database.statement() as connection:
        await record_worker_heartbeat(connection, "worker-1", [QUEUE])
    await gateway.post("inpaint", MEGAPIXEL)
    await gateway.finish(await gateway.claim(), seconds=GENERATION, timeline=TIMELINE)
    age_caches(gateway)


async def start_job(gateway: Gateway, *, claimed_ago: float = 0.0) -> JobRecord:
    """Submit and claim a job; its claim is `claimed_ago` seconds old."""
    await gateway.post("inpaint", MEGAPIXEL)
    job = await gateway.claim()
    await gateway.run(
        "UPDATE jobs SET started_at = now() - make_interval(secs => $1) WHERE id = $2",
        claimed_ago,
        job.id,
    )
    age_caches(gateway)
    return job


async def report(gateway: Gateway, job: JobRecord, progress: JobProgress) -> None:
    """Report progress as the worker of the job does."""
    await write_progress(
        gateway.services.redis, {AttemptName(job.file_prefix, job.attempt): progress}, []
    )


async def read_eta(gateway: Gateway, job_id: int) -> int:
    return int((await gateway.post(f"fetch/{job_id}"))["eta"])


async def test_a_running_jobs_eta_is_its_remaining_steps_decoding_and_upload(
    gateway: Gateway,
) -> None:
    await run_measured_job(gateway)
    job = await start_job(gateway, claimed_ago=69.0)  # far longer than the model's other jobs
    soon = utc_now().timestamp() + 60  # no part of the next step has passed
    await report(gateway, job, JobProgress(46, 70, at=soon, step_seconds=1.5))
    assert await read_eta(gateway, job.id) == 24 * 1.5 + 3 + 2
    await report(gateway, job, JobProgress(70, 70, at=soon, step_seconds=1.5))
    assert await read_eta(gateway, job.id) == 3 + 2
    long_ago = utc_now().timestamp() - 60
    await report(gateway, job, JobProgress(70, 70, at=long_ago, step_seconds=1.5))
    assert await read_eta(gateway, job.id) == 1


async def test_the_first_step_is_estimated_by_the_models_speed(gateway: Gateway) -> None:
    await run_measured_job(gateway)
    job = await start_job(gateway)
    soon = utc_now().timestamp() + 60
    await report(gateway, job, JobProgress(1, 40, at=soon))
    assert await read_eta(gateway, job.id) == 39 + 3 + 2


async def test_the_first_step_takes_longer_beside_other_jobs(gateway: Gateway) -> None:
    await run_measured_job(gateway)
    jobs = [await start_job(gateway) for _ in range(3)]
    soon = utc_now().timestamp() + 60
    await report(gateway, jobs[0], JobProgress(1, 40, at=soon))
    assert await read_eta(gateway, jobs[0].id) == 3 * 39 + 3 + 2


async def test_a_job_without_a_finished_step_has_its_whole_generation_ahead(
    gateway: Gateway,
) -> None:
    await run_measured_job(gateway)
    job = await start_job(gateway, claimed_ago=99.0)  # waiting for its model, say
    assert await read_eta(gateway, job.id) == GENERATION + 2


async def test_a_queued_jobs_eta_includes_its_fetches_and_its_upload(gateway: Gateway) -> None:
    await run_measured_job(gateway)
    submitted = [await gateway.post("inpaint", MEGAPIXEL) for _ in range(2)]
    assert [job["eta"] for job in submitted] == [4 + 40 + 2, 40 + 4 + 40 + 2]


async def test_a_running_job_shows_the_speed_of_a_model_that_was_not_measured(
    gateway: Gateway,
) -> None:
    job = await start_job(gateway)
    queued = await gateway.post("inpaint", MEGAPIXEL)
    assert queued["eta"] < 2 * 40
    soon = utc_now().timestamp() + 60
    await report(gateway, job, JobProgress(20, 40, at=soon, step_seconds=10.0))
    assert await read_eta(gateway, job.id) == 20 * 10 + 2 * 10  # an image takes two steps to decode
    age_caches(gateway)
    assert await read_eta(gateway, queued["id"]) == pytest.approx(2 * 400, abs=5)


async def test_without_redis_a_running_jobs_eta_is_estimated_by_the_models_speed(
    settings: Settings,
) -> None:
    nowhere = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    settings.redis = RedisSettings(url=nowhere, timeout_seconds=0.5)
    async with open_gateway(settings) as gateway:
        async with gateway.services.operator_database.statement() as connection:
            await record_worker_heartbeat(connection, "worker-1", [QUEUE])
        job = await start_job(gateway, claimed_ago=15.0)
        # Half a second for each of 40 units, while nothing has been measured.
        assert [await read_eta(gateway, job.id) for _ in range(2)] == [5, 5]
