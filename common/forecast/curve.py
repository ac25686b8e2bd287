"""A sum of piecewise linear functions, built once and then evaluated by binary search."""

from bisect import bisect_left
from collections.abc import Iterable

# Position, jump in value and change of slope: all take effect beyond the position.
Breakpoint = tuple[float, float, float]


class PiecewiseLinearSum:
    """A piecewise linear function, given by its jumps and changes of slope (`Breakpoint`).

    It is 0 before the first breakpoint. Building it takes O(n log n), evaluating it O(log n).
    """

    def __init__(self, breakpoints: Iterable[Breakpoint]) -> None:
        self._positions: list[float] = []
        self._values: list[float] = []
        self._slopes: list[float] = []
        last = value = slope = 0.0
        for position, jump, change in sorted(breakpoints):
            value += slope * (position - last) + jump
            # Slopes that cancel out leave a rounding error, which must not become a descent.
            slope = max(0.0, slope + change)
            last = position
            self._positions.append(position)
            self._values.append(value)
            self._slopes.append(slope)

    def __bool__(self) -> bool:
        """Return whether the function has any breakpoints."""
        return bool(self._positions)

    @property
    def total(self) -> float:
        """The final value of the function, if it is constant after the last breakpoint."""
        return self._values[-1] if self._values else 0.0

    def value_at(self, position: float) -> float:
        """Return the value at `position`, not including a jump exactly at that position."""
        index = bisect_left(self._positions, position) - 1
        if index < 0:
            return 0.0
        return self._values[index] + self._slopes[index] * (position - self._positions[index])
