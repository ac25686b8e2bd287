"""Requests start in portions, in turn between clients."""

import asyncio

from api.connections.starts import PER_ITERATION, FairStarts


async def test_a_burst_is_started_in_portions() -> None:
    starts, started, iterations = FairStarts(), list[int](), list[int]()
    for number in range(5 * PER_ITERATION):
        starts.start("a", lambda number=number: started.append(number))  # type: ignore[misc]
    while len(started) < 5 * PER_ITERATION:
        iterations.append(len(started))
        await asyncio.sleep(0)
    assert started == list(range(5 * PER_ITERATION))
    assert iterations == [PER_ITERATION * n for n in range(1, 5)]


async def test_another_client_does_not_wait_for_the_burst() -> None:
    starts, started = FairStarts(), list[str]()
    for client in ["burst"] * 10 * PER_ITERATION + ["other"]:
        starts.start(client, lambda client=client: started.append(client))  # type: ignore[misc]
    await asyncio.sleep(0)
    assert "other" in started
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(started) == 10 * PER_ITERATION + 1


async def test_requests_that_come_one_at_a_time_start_at_once() -> None:
    starts, started = FairStarts(), list[int]()
    for number in range(10):
        starts.start(None, lambda number=number: started.append(number))  # type: ignore[misc]
        assert started[-1] == number
        await asyncio.sleep(0)
        await asyncio.sleep(0)
