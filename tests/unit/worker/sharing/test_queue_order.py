"""The queue order: round robin, loaded models first, no queue skipped for long."""

from random import Random

import pytest

from worker.sharing.queue_order import QueueOrder

QUEUES = ("one", "two", "three", "four")
PATIENCE = 30.0


@pytest.mark.parametrize(
    ("turn", "loaded", "expected"),
    [
        ("one", (), ["one", "two", "three", "four"]),
        ("three", (), ["three", "four", "one", "two"]),
        ("one", QUEUES, ["one", "two", "three", "four"]),
        ("one", ("two", "four"), ["two", "four", "one", "three"]),
        ("three", ("two", "four"), ["four", "two", "three", "one"]),
        ("not served here", ("two",), ["two", "one", "three", "four"]),
        ("one", ("unknown",), ["one", "two", "three", "four"]),
    ],
)
def test_round_robin_among_loaded_queues_then_among_the_others(
    turn: str, loaded: tuple[str, ...], expected: list[str]
) -> None:
    assert QueueOrder(QUEUES, patience_seconds=PATIENCE).order(turn, loaded, 0.0) == expected


def after(*claims: tuple[list[str], str | None, float]) -> QueueOrder:
    turns = QueueOrder(QUEUES, patience_seconds=PATIENCE)
    for order, served, now in claims:
        turns.record_claim(order, served, now)
    return turns


LOADED_FIRST = ["two", "one", "three", "four"]


@pytest.mark.parametrize(
    ("turns", "now", "first"),
    [
        # Skipped for less than the patience, then for all of it.
        (after((LOADED_FIRST, "two", 0.0)), 29.9, "two"),
        (after((LOADED_FIRST, "two", 0.0)), 30.0, "one"),
        # It counts from the first time, however often others are served.
        (after((LOADED_FIRST, "two", 0.0), (LOADED_FIRST, "two", 29.0)), 30.0, "one"),
        # Queues that were asked and empty are not skipped.
        (after((LOADED_FIRST, None, 0.0)), 1000.0, "two"),
        (after((LOADED_FIRST, "two", 0.0), (LOADED_FIRST, None, 9.0)), 1000.0, "two"),
        (after((LOADED_FIRST, "two", 0.0), (LOADED_FIRST, "three", 9.0)), 30.0, "four"),
        # A served queue begins anew.
        (after((LOADED_FIRST, "two", 0.0), (LOADED_FIRST, "four", 9.0)), 1000.0, "two"),
    ],
)
def test_a_queue_skipped_for_long_comes_first(turns: QueueOrder, now: float, first: str) -> None:
    assert turns.order("two", {"two"}, now)[0] == first


def test_the_queue_skipped_for_longest_comes_first() -> None:
    turns = after((["three", "four", "one", "two"], "one", 0.0), ([*QUEUES], "one", 5.0))
    assert turns.order("three", {"three"}, 50.0) == ["two", "three", "four", "one"]


@pytest.mark.parametrize("seed", range(20))
def test_a_queue_with_work_waits_at_most_for_its_patience_and_one_claim_of_each_other(
    seed: int,
) -> None:
    """`four` always has work; the work and models of the others are random."""
    draw = Random(seed)
    turns = QueueOrder(QUEUES, patience_seconds=PATIENCE)
    now, turn, overdue_claims = 0.0, "one", 0
    since: float | None = None  # first skipped
    for _ in range(200):
        now += draw.uniform(0.1, 20)
        loaded = draw.sample(QUEUES[:3], draw.randint(0, 3))
        with_work = {"four", *draw.sample(QUEUES, draw.randint(0, 4))}
        order = turns.order(turn, loaded, now)
        served = next(queue for queue in order if queue in with_work)
        turns.record_claim(order, served, now)
        turn = QUEUES[(QUEUES.index(served) + 1) % len(QUEUES)]
        if served == "four":
            since, overdue_claims = None, 0
            continue
        if since is None:
            since = now
        if now - since >= PATIENCE:
            overdue_claims += 1
            assert overdue_claims < len(QUEUES)
