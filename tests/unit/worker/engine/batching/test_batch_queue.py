"""Who steps next."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.batching.batch_queue import FairBatchQueue


def all_of(_key: object) -> int:
    return 100


def test_nobody_is_there() -> None:
    lineup: FairBatchQueue[str] = FairBatchQueue()
    assert not lineup
    assert lineup.next(all_of) == []


def test_one_shape_at_a_time_and_the_oldest_first() -> None:
    lineup: FairBatchQueue[str] = FairBatchQueue()
    for name in ("a1", "b1", "a2", "a3"):
        lineup.add(name[0], name, cost=1)
    assert lineup.next(lambda _key: 2) == ["a1", "a2"]
    assert lineup.next(lambda _key: 2) == ["b1"]
    lineup.remove("a", "a1")
    # b has received one, a two: its turn again, then level.
    assert [lineup.next(lambda _key: 2) for _ in range(2)] == [["b1"], ["a2", "a3"]]
    assert len(lineup) == 3


def test_a_step_takes_one_at_least() -> None:
    lineup: FairBatchQueue[str] = FairBatchQueue()
    lineup.add("a", "a1", cost=1)
    assert lineup.next(lambda _key: 0) == ["a1"]


def test_who_is_not_there_can_leave() -> None:
    lineup: FairBatchQueue[str] = FairBatchQueue()
    lineup.remove("a", "a1")
    lineup.add("a", "a1", cost=1)
    lineup.remove("a", "a2")
    lineup.remove("a", "a1")
    assert not lineup


def test_a_crowd_of_small_ones_leaves_a_large_one_its_share() -> None:
    lineup: FairBatchQueue[str] = FairBatchQueue()
    for number in range(8):
        lineup.add("small", f"small{number}", cost=1)
    lineup.add("large", "large", cost=16)
    turns = Counter(lineup.next(all_of)[0][:5] for _ in range(30))
    assert turns["small"] == 20  # 8 each, against 16
    assert turns["large"] == 10


def test_who_comes_late_earns_nothing_for_it() -> None:
    lineup: FairBatchQueue[str] = FairBatchQueue()
    lineup.add("a", "a", cost=1)
    for _ in range(50):
        lineup.next(all_of)
    lineup.add("b", "b", cost=1)
    turns = Counter(lineup.next(all_of)[0] for _ in range(20))
    assert abs(turns["a"] - turns["b"]) <= 2


def test_coming_and_going_by_the_step_loses_no_debt() -> None:
    lineup: FairBatchQueue[str] = FairBatchQueue()
    lineup.add("long", "long", cost=1)
    turns: Counter[str] = Counter()
    for number in range(40):
        short = f"short{number}"
        lineup.add("short", short, cost=1)
        (chosen,) = lineup.next(lambda _key: 1)
        turns[chosen[:5]] += 1
        lineup.remove("short", chosen)
    assert abs(turns["short"] - turns["long"]) <= 2
    assert lineup.count("short") == 40 - turns["short"]
    assert lineup.count("nobody") == 0


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    costs=st.lists(st.integers(1, 30), min_size=6, max_size=6),
    most=st.integers(1, 8),
)
def test_no_shape_is_ahead_of_another_by_more_than_a_batch(
    sizes: list[int], costs: list[int], most: int
) -> None:
    lineup: FairBatchQueue[tuple[int, int]] = FairBatchQueue()
    for key, size in enumerate(sizes):
        for number in range(size):
            lineup.add(key, (key, number), cost=costs[key])
    served = dict.fromkeys(range(len(sizes)), 0)
    largest = max(costs[key] * min(size, most) for key, size in enumerate(sizes))
    for _ in range(60):
        chosen = lineup.next(lambda _key: most)
        served[chosen[0][0]] += costs[chosen[0][0]] * len(chosen)
        assert max(served.values()) - min(served.values()) <= largest
