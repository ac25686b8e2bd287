"""A job whose last attempt lost its worker is run alone, so that it takes no other along."""

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta

from common.domain.job import WORKER_LOST
from common.runtime.clock import utc_now
from tests.integration.dispatcher.program import running
from tests.integration.worker.harness.engine import POISON
from tests.integration.worker.harness.workshop import WorkerHarness

SUSPECT = {"error_code": WORKER_LOST}


async def test_beside_a_suspect_nothing_is_claimed(workshop: WorkerHarness) -> None:
    hold = workshop.studio.hold_next()
    suspect = await workshop.drawing()
    await workshop.books.set_job(suspect, **SUSPECT)
    other = await workshop.drawing()
    async with workshop.worker() as worker:
        looking = [asyncio.create_task(worker.runner.run_waiting_jobs("one")) for _ in range(3)]
        await workshop.studio.order()
        async with workshop.worker("w2") as second:
            # Claims are free for others, so this one's restraint is its own.
            assert worker.heartbeat.claim_count == 1
            assert await second.runner.run_waiting_jobs("one") == 1
        third = await workshop.drawing()
        assert (await workshop.books.job(third))["state"] == "queued"
        hold.set()
        await asyncio.gather(*looking)
    rows = [await workshop.books.job(job_id) for job_id in (suspect, other, third)]
    assert [(row["state"], row["attempt"]) for row in rows] == [("succeeded", 1)] * 3
    assert [row["error_code"] for row in rows] == [None] * 3


async def test_a_suspect_waits_until_the_others_have_ended(workshop: WorkerHarness) -> None:
    hold = workshop.gallery.hold("init.png")
    suspect = await a_later_suspect(workshop)
    await workshop.queued()
    async with workshop.worker() as worker:
        first = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await workshop.gallery.asked_for("init.png")
        await workshop.books.set_job(suspect, available_at=utc_now())
        second = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await until(lambda: worker.heartbeat.claim_count == 2)
        # The engine is free, and yet it is not drawn: it would be by now.
        for _ in range(50):
            await worker.heartbeat.renew_leases()
        assert workshop.studio.orders == []
        hold.set()
        await asyncio.gather(first, second)
    assert [order.pixels for order in workshop.studio.orders] == [[[64, 64]] * 2, [None, None]]
    assert (await workshop.books.job(suspect))["state"] == "succeeded"


async def test_waiting_it_is_given_back_at_no_cost_and_remains_a_suspect(
    workshop: WorkerHarness,
) -> None:
    workshop.studio.hold_next()
    suspect = await a_later_suspect(workshop)
    await workshop.drawing()
    async with workshop.worker() as worker:
        first = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await workshop.studio.order()
        await workshop.books.set_job(suspect, available_at=utc_now())
        second = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await until(lambda: worker.heartbeat.claim_count == 2)
        worker.runner.stop_claiming()
        worker.runner.release_jobs()
        await asyncio.gather(first, second)
    row = await workshop.books.job(suspect)
    assert (row["state"], row["attempt"], row["max_attempts"]) == ("queued", 1, 4)
    assert row["error_code"] == WORKER_LOST


async def a_later_suspect(workshop: WorkerHarness) -> int:
    """Record one that is not due yet, so that no look takes it before it is known for a suspect."""
    job_id = await workshop.drawing()
    later = utc_now() + timedelta(hours=1)
    await workshop.books.set_job(job_id, **SUSPECT, available_at=later)
    return job_id


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not so():  # noqa: ASYNC110 - a claim sets no event
            await asyncio.sleep(0)


async def until_dead(workshop: WorkerHarness, environment: dict[str, str], held: int) -> None:
    """Run a worker until the poison kills it with `held` claims, and take them back."""
    async with running(environment, "worker") as program:
        assert await program.exit_code() == -signal.SIGKILL
    rows = await workshop.in_state("running")
    assert len(rows) == held
    for row in rows:
        await workshop.age_lease(row["id"])
    await workshop.sweep()


async def test_poison_takes_others_along_once_at_most(
    workshop: WorkerHarness, environment: dict[str, str]
) -> None:
    """Two innocents are held beside it when it kills its first worker; then it is alone."""
    hold = workshop.gallery.hold("init.png")
    innocents = [await workshop.queued(max_attempts=2) for _ in range(2)]
    poison = await workshop.drawing(prompt=POISON)
    await until_dead(workshop, environment, held=3)
    hold.set()
    innocents += [await workshop.queued(max_attempts=2) for _ in range(3)]
    for _ in range(2):
        await until_dead(workshop, environment, held=1)
    async with running(environment, "worker") as program:
        for _ in range(len(await workshop.in_state("queued"))):
            await program.said("job_succeeded")
    row = await workshop.books.job(poison)
    assert (row["state"], row["attempt"], row["error_code"]) == ("failed", 3, WORKER_LOST)
    assert await workshop.traces(poison) == (1, 0)
    rows = [await workshop.books.job(job_id) for job_id in innocents]
    assert [row["state"] for row in rows] == ["succeeded"] * 5
    assert [row["attempt"] for row in rows] == [2, 2, 1, 1, 1]
    assert sum(order.prompt == POISON for order in workshop.studio.orders) == 3
