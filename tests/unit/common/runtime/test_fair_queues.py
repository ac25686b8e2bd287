"""Work of one client delays no work of another one."""

import asyncio

from common.runtime.fair_queues import FairTurns

PER_ITERATION = 8


async def test_a_burst_runs_in_portions() -> None:
    turns, done, iterations = FairTurns(PER_ITERATION), list[int](), list[int]()
    for number in range(5 * PER_ITERATION):
        turns.run("a", lambda number=number: done.append(number))  # type: ignore[misc]
    while len(done) < 5 * PER_ITERATION:
        iterations.append(len(done))
        await asyncio.sleep(0)
    assert done == list(range(5 * PER_ITERATION))
    assert iterations == [PER_ITERATION * n for n in range(1, 5)]


async def test_another_client_does_not_wait_for_the_burst() -> None:
    turns, done = FairTurns(PER_ITERATION), list[str]()
    for client in ["burst"] * 10 * PER_ITERATION + ["other"]:
        turns.run(client, lambda client=client: done.append(client))  # type: ignore[misc]
    await asyncio.sleep(0)
    assert "other" in done
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(done) == 10 * PER_ITERATION + 1


async def test_work_that_comes_one_piece_at_a_time_runs_at_once() -> None:
    turns, done = FairTurns(PER_ITERATION), list[int]()
    for number in range(10):
        turns.run(None, lambda number=number: done.append(number))  # type: ignore[misc]
        assert done[-1] == number
        await asyncio.sleep(0)
        await asyncio.sleep(0)
