"""The choice of the next batch."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.batching.batch_queue import FairBatchQueue


def all_of(_key: object) -> int:
    return 100


def test_an_empty_queue_gives_no_batch() -> None:
    queue: FairBatchQueue[str] = FairBatchQueue()
    assert not queue
    assert queue.next_batch(all_of) == []


def test_one_shape_at_a_time_and_the_oldest_first() -> None:
    queue: FairBatchQueue[str] = FairBatchQueue()
    for name in ("a1", "b1", "a2", "a3"):
        queue.add(name[0], name, cost=1)
    assert queue.next_batch(lambda _key: 2) == ["a1", "a2"]
    assert queue.next_batch(lambda _key: 2) == ["b1"]
    queue.remove("a", "a1")
    # b has received one, a two: its turn again, then level.
    assert [queue.next_batch(lambda _key: 2) for _ in range(2)] == [["b1"], ["a2", "a3"]]
    assert len(queue) == 3


def test_a_batch_has_at_least_one_item() -> None:
    queue: FairBatchQueue[str] = FairBatchQueue()
    queue.add("a", "a1", cost=1)
    assert queue.next_batch(lambda _key: 0) == ["a1"]


def test_removing_an_absent_item_changes_nothing() -> None:
    queue: FairBatchQueue[str] = FairBatchQueue()
    queue.remove("a", "a1")
    queue.add("a", "a1", cost=1)
    queue.remove("a", "a2")
    queue.remove("a", "a1")
    assert not queue


def test_many_small_items_leave_a_large_one_its_share() -> None:
    queue: FairBatchQueue[str] = FairBatchQueue()
    for number in range(8):
        queue.add("small", f"small{number}", cost=1)
    queue.add("large", "large", cost=16)
    turns = Counter(queue.next_batch(all_of)[0][:5] for _ in range(30))
    assert turns["small"] == 20  # 8 each, against 16
    assert turns["large"] == 10


def test_a_late_group_gets_no_credit() -> None:
    queue: FairBatchQueue[str] = FairBatchQueue()
    queue.add("a", "a", cost=1)
    for _ in range(50):
        queue.next_batch(all_of)
    queue.add("b", "b", cost=1)
    turns = Counter(queue.next_batch(all_of)[0] for _ in range(20))
    assert abs(turns["a"] - turns["b"]) <= 2


def test_rejoining_does_not_clear_a_debt() -> None:
    queue: FairBatchQueue[str] = FairBatchQueue()
    queue.add("long", "long", cost=1)
    turns: Counter[str] = Counter()
    for number in range(40):
        short = f"short{number}"
        queue.add("short", short, cost=1)
        (chosen,) = queue.next_batch(lambda _key: 1)
        turns[chosen[:5]] += 1
        queue.remove("short", chosen)
    assert abs(turns["short"] - turns["long"]) <= 2
    assert queue.count("short") == 40 - turns["short"]
    assert queue.count("unknown") == 0


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    costs=st.lists(st.integers(1, 30), min_size=6, max_size=6),
    max_batch=st.integers(1, 8),
)
def test_no_shape_is_ahead_of_another_by_more_than_a_batch(
    sizes: list[int], costs: list[int], max_batch: int
) -> None:
    queue: FairBatchQueue[tuple[int, int]] = FairBatchQueue()
    for key, size in enumerate(sizes):
        for number in range(size):
            queue.add(key, (key, number), cost=costs[key])
    served = dict.fromkeys(range(len(sizes)), 0)
    largest = max(costs[key] * min(size, max_batch) for key, size in enumerate(sizes))
    for _ in range(60):
        chosen = queue.next_batch(lambda _key: max_batch)
        served[chosen[0][0]] += costs[chosen[0][0]] * len(chosen)
        assert max(served.values()) - min(served.values()) <= largest
