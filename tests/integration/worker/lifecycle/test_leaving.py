"""A tenant is deleted while a worker draws for it: the worker finishes in peace, then all goes."""

import asyncio

import pytest
from structlog.testing import capture_logs

from common.postgres.models import Job
from common.postgres.repositories.maintenance.requeue import requeue_expired
from common.settings import RetentionSettings
from tests.integration.maintenance.deleted_tenants import is_there, leave, rows_of
from tests.integration.repositories.usage.test_ledger import read
from tests.integration.worker.harness.studio import Answer
from tests.integration.worker.harness.workshop import WorkerHarness
from worker.maintenance.retention import Retention


async def run_round(workshop: WorkerHarness) -> None:
    """Do what the dispatcher does; the first time it only names the bucket."""
    retention = Retention(workshop.database, workshop.storage, RetentionSettings())
    async with workshop.database.statement() as connection:
        await retention.run_round(connection, asyncio.Event())


async def states(workshop: WorkerHarness) -> list[str]:
    return [row["state"] for row in await workshop.books.rows(Job)]


async def test_a_running_job_is_finished_before_its_tenant_goes(workshop: WorkerHarness) -> None:
    await run_round(workshop)
    may_draw = workshop.studio.hold_next()
    await workshop.queued()
    async with workshop.worker() as worker:
        looking = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        order = await workshop.studio.order()
        await workshop.queued()
        await leave(workshop.books)
        for _ in range(2):
            await run_round(workshop)
            assert await states(workshop) == ["running", "canceled"]
            await worker.heartbeat.renew_leases()
        assert not order.ended
        may_draw.set()
        with capture_logs() as lines:
            await looking
    assert not order.stopped
    assert "claim_lost" not in {line["event"] for line in lines}
    assert await states(workshop) == ["succeeded", "canceled"]
    (line,) = await read(workshop.books)
    assert line.jobs == 1
    await run_round(workshop)
    assert set((await rows_of(workshop.books)).values()) == {0}
    objects = (await workshop.storage.list_page(None)).objects
    assert [found.key.split("/")[0] for found in objects] == [".infill"]


@pytest.mark.parametrize("answer", ["fail", "refuse"])
async def test_a_running_job_that_fails_is_not_tried_again(
    workshop: WorkerHarness, answer: str
) -> None:
    await run_round(workshop)
    hold = asyncio.Event()
    workshop.studio.answers.append(Answer(answer, hold=hold))
    await workshop.queued()
    async with workshop.worker() as worker:
        looking = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await workshop.studio.order()
        await leave(workshop.books)
        await run_round(workshop)
        hold.set()
        await looking
    await run_round(workshop)
    assert not await is_there(workshop.books)
    assert len(workshop.studio.orders) == 1


async def test_a_worker_that_died_holds_the_deletion_up_for_its_lease(
    workshop: WorkerHarness,
) -> None:
    await run_round(workshop)
    workshop.studio.hold_next()
    job_id = await workshop.queued()
    async with workshop.worker() as worker:
        looking = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await workshop.studio.order()
        await leave(workshop.books)
        await run_round(workshop)
        assert await is_there(workshop.books)
        await workshop.age_lease(job_id)
        async with workshop.database.statement() as connection:
            assert await requeue_expired(connection, limit=10) == 1
        await run_round(workshop)
        assert not await is_there(workshop.books)
        worker.runner.stop_claiming()
        await worker.heartbeat.renew_leases()  # it lives after all, and learns that nothing is left
        await looking


async def test_nothing_more_is_claimed_for_a_tenant_that_leaves(workshop: WorkerHarness) -> None:
    await workshop.queued()
    await leave(workshop.books, seconds_ago=0)
    async with workshop.worker() as worker:
        assert await worker.runner.run_waiting_jobs("one") == 0
    assert await states(workshop) == ["queued"]
