"""What was read is kept for a while, shared by those who ask meanwhile, and bounded in number."""

import asyncio

import pytest

from common.runtime import single_flight as freshness
from common.runtime.single_flight import SingleFlightCache


class Source:
    """Counts how often each key is read; waits, when told to, until it may answer."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, key: str) -> int:
        self.read.append(key)
        await self.open.wait()
        return len(self.read)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Set the clock by hand."""
    clock = [100.0]
    monkeypatch.setattr(freshness, "monotonic", lambda: clock[0])
    return clock


async def test_a_reading_serves_until_its_time_is_over(now: list[float]) -> None:
    source = Source()
    readings = SingleFlightCache(source, fresh_seconds=2.0, most=10)
    assert readings.known("a") is None
    assert (await readings.get("a")).value == 1
    now[0] += 1.5
    kept = await readings.get("a")
    assert (kept.value, kept.age_seconds) == (1, 1.5)
    now[0] += 0.5
    assert readings.known("a") == 1
    assert (await readings.get("a")).value == 2
    assert source.read == ["a", "a"]


async def test_those_who_ask_meanwhile_share_one_reading() -> None:
    source = Source()
    source.open.clear()
    readings = SingleFlightCache(source, fresh_seconds=60.0, most=10)
    asking = [asyncio.create_task(readings.get("a")) for _ in range(5)]
    await asyncio.sleep(0)
    assert readings.known("a") is None
    source.open.set()
    assert {kept.value for kept in await asyncio.gather(*asking)} == {1}


async def test_who_gives_up_leaves_the_reading_to_the_others() -> None:
    source = Source()
    source.open.clear()
    readings = SingleFlightCache(source, fresh_seconds=60.0, most=10)
    first, second = (asyncio.create_task(readings.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    source.open.set()
    assert (await second).value == 2


async def test_no_more_are_kept_than_allowed() -> None:
    source = Source()
    readings = SingleFlightCache(source, fresh_seconds=60.0, most=2)
    for key in ("a", "b", "c"):
        await readings.get(key)
    assert [readings.known(key) for key in ("a", "b", "c")] == [None, 2, 3]
