"""How jobs share a worker: queues take turns, the network overlaps the engine."""

import asyncio

import pytest

from common.domain.generation import Endpoint
from common.settings import WorkerSettings
from tests.integration.worker.test_suspects import until
from tests.integration.worker.workshop import Workshop


@pytest.mark.parametrize(
    ("rung", "expected"),
    [
        ("one", ["one", "two", "one", "two", "one", "one"]),
        ("two", ["two", "one", "two", "one", "one", "one"]),
        ("a queue of another release", ["one", "two", "one", "two", "one", "one"]),
    ],
)
async def test_queues_take_turns(workshop: Workshop, rung: str, expected: list[str]) -> None:
    workshop = workshop.having(places=WorkerSettings(concurrency=1))
    for queue in ("one",) * 4 + ("two",) * 2:
        await workshop.queued(inputs={}, asked={"model": queue, "endpoint": Endpoint.TEXT2IMG})
    async with workshop.worker() as worker:
        assert await worker.runner.look(rung) == 6
    assert [order.model for order in workshop.studio.orders] == expected


async def test_a_look_claims_as_many_as_there_are_places(workshop: Workshop) -> None:
    holds = [workshop.studio.hold_next() for _ in range(4)]
    for _ in holds:
        await workshop.drawing()
    async with workshop.worker() as worker:
        looking = asyncio.create_task(worker.runner.look("one"))
        await workshop.studio.order()
        await until(lambda: worker.heartbeat.held == 3)
        assert worker.runner.free_places == 0
        assert len(await workshop.in_state("queued")) == 1
        for number, hold in enumerate(holds, start=1):
            await workshop.studio.order(number)
            hold.set()
        assert await looking == 4
        assert worker.runner.free_places == 3


async def test_who_leaves_claims_nothing(workshop: Workshop) -> None:
    job_id = await workshop.queued()
    async with workshop.worker() as worker:
        worker.runner.stop_claiming()
        assert await worker.runner.look("one") == 0
    assert (await workshop.books.job(job_id))["attempt"] == 0


async def test_downloads_overlap_the_engine_and_the_engine_draws_one_at_a_time(
    workshop: Workshop,
) -> None:
    holds = [workshop.studio.hold_next() for _ in range(3)]
    jobs = [await workshop.queued() for _ in holds]
    async with workshop.worker() as worker:
        looking = [asyncio.create_task(worker.runner.look("one")) for _ in jobs]
        await workshop.studio.order()
        await workshop.gallery.asked_for("mask.png", 3)
        assert worker.heartbeat.held == 3
        assert len(workshop.studio.orders) == 1
        for number, hold in enumerate(holds, start=1):
            await workshop.studio.order(number)
            hold.set()
        await asyncio.gather(*looking)
    assert workshop.studio.most_at_once == 1
    rows = [await workshop.books.job(job_id) for job_id in jobs]
    assert [row["state"] for row in rows] == ["succeeded"] * 3
    timelines = [row["result"]["timeline"] for row in rows]
    first_drawn = min(line["generated"] for line in timelines)
    assert all(line["claimed"] < first_drawn for line in timelines)
