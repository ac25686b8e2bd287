"""How jobs share a worker: queues take turns, the network overlaps the engine, all are drawn."""

import asyncio

import pytest

from common.domain.generation import Endpoint
from common.postgres.models import UsageEntry
from common.settings import WorkerSettings
from tests.integration.worker.harness.engine import PART
from tests.integration.worker.harness.workshop import WorkerHarness


@pytest.mark.parametrize(
    ("rung", "expected"),
    [
        ("one", ["one", "two", "one", "two", "one", "one"]),
        ("two", ["two", "one", "two", "one", "one", "one"]),
        ("a queue of another release", ["one", "two", "one", "two", "one", "one"]),
    ],
)
async def test_queues_take_turns(workshop: WorkerHarness, rung: str, expected: list[str]) -> None:
    workshop = workshop.having(places=WorkerSettings(concurrency=1))
    for queue in ("one",) * 4 + ("two",) * 2:
        await workshop.queued(inputs={}, asked={"model": queue, "endpoint": Endpoint.TEXT2IMG})
    async with workshop.worker() as worker:
        assert await worker.runner.run_waiting_jobs(rung) == 6
    assert [order.model for order in workshop.studio.orders] == expected


async def test_a_look_claims_as_many_as_there_are_places(workshop: WorkerHarness) -> None:
    holds = [workshop.studio.hold_next() for _ in range(4)]
    for _ in holds:
        await workshop.drawing()
    workshop = workshop.having(places=WorkerSettings(concurrency=3))
    async with workshop.worker() as worker:
        looking = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await workshop.studio.order(3)
        assert (worker.heartbeat.claim_count, worker.runner.free_slots) == (3, 0)
        assert len(await workshop.in_state("queued")) == 1
        for hold in holds:
            hold.set()
        assert await looking == 4
        assert worker.runner.free_slots == 3


async def test_who_leaves_claims_nothing(workshop: WorkerHarness) -> None:
    job_id = await workshop.queued()
    async with workshop.worker() as worker:
        worker.runner.stop_claiming()
        assert await worker.runner.run_waiting_jobs("one") == 0
    assert (await workshop.books.job(job_id))["attempt"] == 0


async def test_all_that_is_fetched_is_handed_to_the_engine_at_once(workshop: WorkerHarness) -> None:
    """A download that lasts holds nobody up, and what is drawn does not hold up a download."""
    holds = [workshop.studio.hold_next() for _ in range(2)]
    workshop.gallery.pages["/late.png"] = workshop.gallery.pages["/mask.png"]
    arrived = workshop.gallery.hold("late.png")
    jobs = [await workshop.queued() for _ in holds]
    jobs.append(await workshop.queued(inputs=workshop.pictures(mask="late.png")))
    async with workshop.worker() as worker:
        looking = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await workshop.studio.order(2)
        await workshop.gallery.asked_for("late.png")
        assert worker.heartbeat.claim_count == 3
        arrived.set()
        await workshop.studio.order(3)
        assert workshop.studio.most_at_once == 3
        for hold in holds:
            hold.set()
        await looking
    rows = [await workshop.books.job(job_id) for job_id in jobs]
    assert [row["state"] for row in rows] == ["succeeded"] * 3
    for row in rows:
        result = row["result"]
        assert result["engine_seconds"] == pytest.approx(result["generation_seconds"] * PART)
    usage = {
        row["job_id"]: row["gpu_milliseconds"] for row in await workshop.books.rows(UsageEntry)
    }
    parts = {row["id"]: round(row["result"]["engine_seconds"] * 1000) for row in rows}
    assert usage == parts
