"""A sum of many piecewise linear functions, put together once and then looked up."""

from bisect import bisect_left
from collections.abc import Iterable

# Beyond `place` the sum is higher by `jump` and steeper by `change`.
Bend = tuple[float, float, float]


class PiecewiseLinearSum:
    """What the bends add up to: 0 up to the first. O(n log n) to build, O(log n) to read."""

    def __init__(self, bends: Iterable[Bend]) -> None:
        self._places: list[float] = []
        self._heights: list[float] = []
        self._slopes: list[float] = []
        last = height = slope = 0.0
        for place, jump, change in sorted(bends):
            height += slope * (place - last) + jump
            slope = max(0.0, slope + change)  # what rises, then no more, ends at 0 but for rounding
            last = place
            self._places.append(place)
            self._heights.append(height)
            self._slopes.append(slope)

    def __bool__(self) -> bool:
        """Whether it bends anywhere."""
        return bool(self._places)

    @property
    def total(self) -> float:
        """Give the height after the last bend, for a curve that is level there."""
        return self._heights[-1] if self._heights else 0.0

    def at(self, place: float) -> float:
        """Give the height at `place`; a jump exactly there is not made yet."""
        index = bisect_left(self._places, place) - 1
        if index < 0:
            return 0.0
        return self._heights[index] + self._slopes[index] * (place - self._places[index])
