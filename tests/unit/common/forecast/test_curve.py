"""A sum of piecewise linear functions equals the sum of its breakpoints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.forecast.curve import Breakpoint, PiecewiseLinearSum

numbers = st.floats(0, 1000)
breakpoints = st.lists(st.tuples(numbers, numbers, numbers), max_size=20)


def test_a_curve_without_breakpoints_is_zero() -> None:
    assert not PiecewiseLinearSum([])
    assert PiecewiseLinearSum([]).value_at(5.0) == 0.0


def test_a_jump_takes_effect_beyond_its_position() -> None:
    curve = PiecewiseLinearSum([(2.0, 3.0, 0.5)])
    assert curve
    assert [curve.value_at(position) for position in (0.0, 2.0, 2.5, 4.0)] == [0.0, 0.0, 3.25, 4.0]


@given(breakpoints=breakpoints, position=numbers)
def test_a_curve_is_the_sum_of_its_breakpoints(
    breakpoints: list[Breakpoint], position: float
) -> None:
    direct = sum(
        jump + change * (position - at) for at, jump, change in breakpoints if at < position
    )
    assert PiecewiseLinearSum(breakpoints).value_at(position) == pytest.approx(
        direct, rel=1e-9, abs=1e-6
    )
