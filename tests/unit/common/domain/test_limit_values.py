"""Validation of limits, and the messages of invalid ones."""

from typing import Any

import pytest

from common.domain.errors import InvalidLimitsError
from common.domain.limits import MAX_COUNT, MAX_MONTHLY_CREDITS, MAX_QUEUED_UNDER_QUOTA, Limits


def test_later_limits_override_earlier_ones_even_with_null() -> None:
    plan = {"weight": 2, "max_running": 4, "models": ["a"]}
    assert Limits.from_json(plan) == Limits(weight=2, max_running=4, models=("a",))
    own = Limits.from_json(plan, {"max_running": None, "models": ["b", "c"]})
    assert own == Limits(weight=2, models=("b", "c"))
    assert Limits.from_json() == Limits()
    checked = {"require_safety_checker": True}
    assert Limits.from_json(checked).to_json() == checked
    assert Limits.from_json(checked, {"require_safety_checker": False}) == Limits()


def test_only_limits_that_differ_from_the_defaults_are_stored() -> None:
    stored = {"weight": 2.0, "max_queued": 0, "models": ["a"]}
    assert Limits.from_json(stored, {"max_running": None}).to_json() == stored
    assert Limits().to_json() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("weight", value) for value in (0.001, 1, 1000)),
        *(("max_queued", value) for value in (None, 0, MAX_COUNT)),
        *(("max_running", value) for value in (None, 1, MAX_COUNT)),
        *(("models", value) for value in (None, [], ["a"], ("a", "b"))),
        *(("require_safety_checker", value) for value in (True, False)),
    ],
)
def test_valid_limits(name: str, value: Any) -> None:
    Limits.from_json({name: value})


@pytest.mark.parametrize("credits_", [0, 0.5, MAX_MONTHLY_CREDITS, None])
def test_valid_quotas(credits_: float | None) -> None:
    Limits.from_json({"monthly_credits": credits_, "max_queued": MAX_QUEUED_UNDER_QUOTA})


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        (
            "weight",
            (None, "2", True, 0, 0.0009, 1001, 10**400, float("nan"), float("inf")),
            "must be a number from 0.001 to 1000",
        ),
        (
            "monthly_credits",
            ("2", True, -1, 10**400, float("nan"), MAX_MONTHLY_CREDITS * 2),
            "must be null or a number from 0 to 1000000000000",
        ),
        (
            "models",
            ("a", {}, [1], [""], [None], ["a\x00"], ["\ud800"]),
            "must be null or a list of model names",
        ),
        ("require_safety_checker", (None, "yes", 1, 0, []), "must be true or false"),
        (
            "max_queued",
            ("1", True, 1.0, -1, MAX_COUNT + 1),
            f"must be null or a whole number from 0 to {MAX_COUNT}",
        ),
        (
            "max_pixels",
            ("1", True, 1.0, 0, MAX_COUNT + 1),
            f"must be null or a whole number from 1 to {MAX_COUNT}",
        ),
    ],
)
def test_invalid_limits(name: str, values: tuple[Any, ...], expected: str) -> None:
    for value in values:
        with pytest.raises(InvalidLimitsError) as caught:
            Limits.from_json({name: value})
        assert caught.value.problems == {name: expected}


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(InvalidLimitsError) as caught:
        Limits.from_json({"max_runing": 1, "max_running": 0})
    assert list(caught.value.problems) == ["max_runing", "max_running"]
    assert caught.value.message.startswith(
        "max_runing is not a limit; the limits are: max_inference_steps"
    )


@pytest.mark.parametrize("queued", [None, MAX_QUEUED_UNDER_QUOTA + 1])
def test_a_quota_needs_a_queue_that_can_be_added_up(queued: int | None) -> None:
    rule = "monthly_credits can be set only if max_queued is also set, to at most 100000"
    with pytest.raises(InvalidLimitsError, match=rule):
        Limits.from_json({"monthly_credits": 1, "max_queued": queued})
