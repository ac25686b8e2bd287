"""A job whose last attempt lost its worker is run alone, so that it can harm no other."""

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta

from common.domain.job import WORKER_LOST
from common.runtime.clock import utc_now
from tests.integration.dispatcher.program import running
from tests.integration.worker.harness.engine import KILLS_WORKER
from tests.integration.worker.harness.worker_harness import WorkerHarness

SUSPECT = {"suspect": True}


async def test_no_job_is_claimed_beside_a_suspect(harness: WorkerHarness) -> None:
    hold = harness.engine_control.hold_next()
    suspect = await harness.queue_text2img()
    await harness.tenant.set_job(suspect, **SUSPECT)
    other = await harness.queue_text2img()
    async with harness.worker() as worker:
        running_jobs = [
            asyncio.create_task(worker.runner.run_waiting_jobs("one")) for _ in range(3)
        ]
        await harness.engine_control.generation()
        async with harness.worker("w2") as second:
            # Other workers may claim, so this one holds back by itself.
            assert worker.heartbeat.claim_count == 1
            assert await second.runner.run_waiting_jobs("one") == 1
        third = await harness.queue_text2img()
        assert (await harness.tenant.read_job(third))["state"] == "queued"
        hold.set()
        await asyncio.gather(*running_jobs)
    rows = [await harness.tenant.read_job(job_id) for job_id in (suspect, other, third)]
    assert [(row["state"], row["attempt"]) for row in rows] == [("succeeded", 1)] * 3
    assert [row["error_code"] for row in rows] == [None] * 3


async def test_a_suspect_waits_until_the_others_have_ended(harness: WorkerHarness) -> None:
    hold = harness.image_host.hold("init.png")
    suspect = await queue_later_suspect(harness)
    await harness.queue_inpaint()
    async with harness.worker() as worker:
        first = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.image_host.wait_for_request("init.png")
        await harness.tenant.set_job(suspect, available_at=utc_now())
        second = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await wait_until(lambda: worker.heartbeat.claim_count == 2)
        # The engine is free, but the suspect has not started: it would have by now.
        for _ in range(50):
            await worker.heartbeat.renew_leases()
        assert harness.engine_control.generations == []
        hold.set()
        await asyncio.gather(first, second)
    assert [order.pixels for order in harness.engine_control.generations] == [
        [[64, 64]] * 2,
        [None, None],
    ]
    assert (await harness.tenant.read_job(suspect))["state"] == "succeeded"


async def test_a_waiting_suspect_is_released_and_remains_a_suspect(
    harness: WorkerHarness,
) -> None:
    harness.engine_control.hold_next()
    suspect = await queue_later_suspect(harness)
    await harness.queue_text2img()
    async with harness.worker() as worker:
        first = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation()
        await harness.tenant.set_job(suspect, available_at=utc_now())
        second = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await wait_until(lambda: worker.heartbeat.claim_count == 2)
        worker.runner.stop_claiming()
        worker.runner.release_jobs()
        await asyncio.gather(first, second)
    row = await harness.tenant.read_job(suspect)
    assert (row["state"], row["attempt"], row["max_attempts"]) == ("queued", 1, 4)
    assert row["suspect"]


async def queue_later_suspect(harness: WorkerHarness) -> int:
    """Record a suspect that is not available yet, so that no earlier claim takes it."""
    job_id = await harness.queue_text2img()
    later = utc_now() + timedelta(hours=1)
    await harness.tenant.set_job(job_id, **SUSPECT, available_at=later)
    return job_id


async def wait_until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not so():  # noqa: ASYNC110 - a claim sets no event
            await asyncio.sleep(0)


async def run_until_killed(harness: WorkerHarness, environment: dict[str, str], held: int) -> None:
    """Run a worker until a job kills it while it holds `held` jobs; requeue them."""
    async with running(environment, "worker") as program:
        assert await program.exit_code() == -signal.SIGKILL
    rows = await harness.jobs_in_state("running")
    assert len(rows) == held
    for row in rows:
        await harness.age_lease(row["id"])
    await harness.sweep()


async def test_a_job_that_kills_workers_harms_others_once_at_most(
    harness: WorkerHarness, environment: dict[str, str]
) -> None:
    """Two other jobs are running when it kills its first worker; after that it runs alone."""
    hold = harness.image_host.hold("init.png")
    innocents = [await harness.queue_inpaint(max_attempts=2) for _ in range(2)]
    poison = await harness.queue_text2img(prompt=KILLS_WORKER)
    await run_until_killed(harness, environment, held=3)
    hold.set()
    innocents += [await harness.queue_inpaint(max_attempts=2) for _ in range(3)]
    for _ in range(2):
        await run_until_killed(harness, environment, held=1)
    async with running(environment, "worker") as program:
        for _ in range(len(await harness.jobs_in_state("queued"))):
            await program.wait_for_event("job_succeeded")
    row = await harness.tenant.read_job(poison)
    assert (row["state"], row["attempt"], row["error_code"]) == ("failed", 3, WORKER_LOST)
    assert await harness.count_records(poison) == (1, 0)
    rows = [await harness.tenant.read_job(job_id) for job_id in innocents]
    assert [row["state"] for row in rows] == ["succeeded"] * 5
    assert [row["attempt"] for row in rows] == [2, 2, 1, 1, 1]
    assert sum(order.prompt == KILLS_WORKER for order in harness.engine_control.generations) == 3
