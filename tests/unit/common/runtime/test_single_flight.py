"""Values are served while fresh, read once for concurrent callers, and bounded in number."""

import asyncio
from collections.abc import Callable

import pytest

from common.runtime import single_flight
from common.runtime.single_flight import Reading, SingleFlightCache


class Source:
    """Counts the reads of each key; blocks them until `open` is set; fails if `error` is set."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.fresh_seconds = 2.0
        self.unknown: set[str] = set()
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, key: str) -> Reading[int | None]:
        self.reads.append(key)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return Reading(None if key in self.unknown else len(self.reads), self.fresh_seconds)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the cache's clock forward by a number of seconds."""
    now = 100.0

    def move(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(single_flight, "monotonic", lambda: now)
    return move


async def test_a_value_is_served_until_it_is_no_longer_fresh(
    source: Source, advance: Callable[[float], None]
) -> None:
    cache = SingleFlightCache(source, capacity=10)
    assert cache.latest("a") is None
    assert (await cache.get("a")).value == 1
    advance(1.5)
    cached = await cache.get("a")
    assert (cached.value, cached.age_seconds) == (1, 1.5)
    advance(0.5)
    assert cache.latest("a") == 1
    assert (await cache.get("a")).value == 2
    assert source.reads == ["a", "a"]


async def test_each_value_has_its_own_time_to_live(
    source: Source, advance: Callable[[float], None]
) -> None:
    cache = SingleFlightCache(source, capacity=10)
    await cache.get("short")
    source.fresh_seconds = 60.0
    await cache.get("long")
    advance(30)
    assert (await cache.get("long")).value == 2
    assert (await cache.get("short")).value == 3


async def test_a_time_to_live_of_zero_caches_nothing(source: Source) -> None:
    source.fresh_seconds = 0.0
    cache = SingleFlightCache(source, capacity=10)
    assert [(await cache.get("a")).value for _ in range(3)] == [1, 2, 3]


async def test_a_caller_may_ask_for_a_younger_value(
    source: Source, advance: Callable[[float], None]
) -> None:
    cache = SingleFlightCache(source, capacity=10)
    await cache.get("a")
    advance(0.5)
    assert (await cache.get("a", max_age=0.5)).value == 1
    advance(0.5)
    assert (await cache.get("a")).value == 1
    assert (await cache.get("a", max_age=0.5)).value == 2


async def test_a_value_ages_from_the_start_of_its_read(
    source: Source, advance: Callable[[float], None]
) -> None:
    cache = SingleFlightCache(source, capacity=10)
    source.open.clear()
    reading = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    advance(2)
    source.open.set()
    assert (await reading).age_seconds == 2
    assert (await cache.get("a")).value == 2


async def test_concurrent_callers_share_one_read(source: Source) -> None:
    cache = SingleFlightCache(source, capacity=10)
    source.open.clear()
    callers = [asyncio.create_task(cache.get("a")) for _ in range(5)]
    await asyncio.sleep(0)
    assert cache.latest("a") is None
    source.open.set()
    assert {cached.value for cached in await asyncio.gather(*callers)} == {1}
    assert source.reads == ["a"]
    assert not cache._reads


async def test_a_cancelled_caller_does_not_cancel_the_shared_read(source: Source) -> None:
    cache = SingleFlightCache(source, capacity=10)
    source.open.clear()
    first, second = (asyncio.create_task(cache.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    source.open.set()
    assert (await second).value == 1
    assert first.cancelled()
    assert source.reads == ["a"]


async def test_a_failed_read_raises_for_all_and_keeps_the_older_value(
    source: Source, advance: Callable[[float], None]
) -> None:
    cache = SingleFlightCache(source, capacity=10)
    await cache.get("a")
    advance(2)
    source.error = ConnectionError("gone")
    failed = await asyncio.gather(*(cache.get("a") for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in failed] == [ConnectionError] * 3
    assert source.reads == ["a", "a"]
    assert cache.latest("a") == 1
    source.error = None
    assert (await cache.get("a")).value == 3


async def test_a_failed_read_without_callers_is_not_reported(source: Source) -> None:
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    cache = SingleFlightCache(source, capacity=10)
    source.open.clear()
    caller = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    (read,) = cache._reads.values()
    caller.cancel()
    await asyncio.wait([caller])
    source.error = ConnectionError("gone")
    source.open.set()
    await asyncio.wait([read])
    del read
    await asyncio.sleep(0)
    asyncio.get_running_loop().set_exception_handler(None)
    assert not reports
    assert not cache._reads


async def test_the_oldest_values_are_evicted(source: Source) -> None:
    cache = SingleFlightCache(source, capacity=2)
    for key in ("a", "b", "c"):
        await cache.get(key)
    assert [cache.latest(key) for key in ("a", "b", "c")] == [None, 2, 3]


async def test_a_value_read_again_is_the_newest(source: Source) -> None:
    source.fresh_seconds = 0.0
    cache = SingleFlightCache(source, capacity=2)
    for key in ("a", "b", "a", "c"):
        await cache.get(key)
    assert [cache.latest(key) for key in ("a", "b", "c")] == [3, None, 4]


async def test_negative_results_do_not_evict_values(source: Source) -> None:
    source.unknown = {f"unknown-{number}" for number in range(5)}
    cache = SingleFlightCache(source, capacity=2, negative_capacity=2)
    await cache.get("a")
    for key in sorted(source.unknown):
        assert (await cache.get(key)).value is None
    assert cache.latest("a") == 1
    assert len(cache._negatives) == 2
    await cache.get("unknown-4")
    assert source.reads.count("unknown-4") == 1


async def test_negative_results_are_not_cached_by_default(source: Source) -> None:
    source.unknown = {"x"}
    cache = SingleFlightCache(source, capacity=2)
    for _ in range(2):
        assert (await cache.get("x")).value is None
    assert source.reads == ["x", "x"]


async def test_a_key_that_changes_sides_is_cached_once(
    source: Source, advance: Callable[[float], None]
) -> None:
    cache = SingleFlightCache(source, capacity=2, negative_capacity=2)
    for unknown in ({"a"}, set[str](), {"a"}):
        source.unknown = unknown
        await cache.get("a")
        assert (len(cache._values), len(cache._negatives)) == (not unknown, bool(unknown))
        advance(2)
