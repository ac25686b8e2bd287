"""Who is at work, and how long a caller waits."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from common.domain.job import JobState
from common.models import Worker
from common.repositories.workers import (
    SPEED_SAMPLE,
    QueueLoad,
    measure_load,
    say_alive,
    say_goodbye,
)
from tests.integration.repositories.books import LONG_AGO, QUEUE, RESULT, Books


async def load(books: Books, queue: str = QUEUE) -> QueueLoad:
    async with books.database.statement() as connection:
        return await measure_load(connection, queue, silent_seconds=60)


async def test_an_idle_queue_without_workers(books: Books) -> None:
    assert await load(books) == QueueLoad(0, 0.0, 0, None)


async def test_what_lies_ahead_is_waiting_and_running_work(books: Books) -> None:
    waiting = [await books.job_in(JobState.QUEUED, cost=cost) for cost in (10.0, 1.0, 1.5)]
    await books.job_in(JobState.RUNNING, cost=4.0)
    await books.job_in(JobState.FAILED)
    elsewhere = await books.queued(queue="elsewhere")
    first, last = waiting[0].job_id, waiting[-1].job_id
    assert await load(books) == QueueLoad(3, 16.5, 0, None, first, last)
    assert await load(books, "elsewhere") == QueueLoad(1, 10.0, 0, None, elsewhere, elsewhere)


async def test_a_long_queue_is_estimated_from_its_ends(books: Books) -> None:
    mine = []
    for _ in range(10):
        mine.append((await books.job_in(JobState.QUEUED, cost=2.0)).job_id)
        await books.queued(queue="elsewhere")
    ends = (mine[0], mine[-1])
    async with books.database.statement() as connection:
        for ends_read in (3, 4, 5, 6, 20):  # nothing, little or all of it is read twice
            measured = await measure_load(connection, QUEUE, silent_seconds=60, ends_read=ends_read)
            assert measured == QueueLoad(10, 20.0, 0, None, *ends)


async def test_speed_comes_from_the_latest_successes(books: Books) -> None:
    for number in range(SPEED_SAMPLE + 2):
        # The two oldest took an age; they no longer count.
        result = {**RESULT.to_json(), "generation_seconds": 9999.0 if number < 2 else 5.0}
        await books.job_in(
            JobState.SUCCEEDED, result=result, finished_at=LONG_AGO + timedelta(minutes=number)
        )
    assert (await load(books)).seconds_per_unit == pytest.approx(0.5)
    assert (await load(books, "elsewhere")).seconds_per_unit is None


async def test_workers_that_lately_spoke_are_counted(books: Books) -> None:
    async with books.database.statement() as connection:
        for name, queues in (("w1", [QUEUE, "x"]), ("w2", [QUEUE]), ("w3", ["x"]), ("w4", [QUEUE])):
            await say_alive(connection, name, queues)
        await connection.execute(update(Worker).where(Worker.name == "w4").values(seen_at=LONG_AGO))
        assert (await load(books)).workers == 2
        await say_goodbye(connection, "w2")
        assert (await load(books)).workers == 1
        await say_alive(connection, "w1", ["x"])
        await say_alive(connection, "w4", [QUEUE])
        assert ((await load(books)).workers, (await load(books, "x")).workers) == (1, 2)
    assert {row["name"] for row in await books.rows(Worker)} == {"w1", "w3", "w4"}
