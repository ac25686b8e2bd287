"""How long until one of several places is free for work that is taken in order."""

from bisect import bisect_left
from collections.abc import Iterable


class Slots:
    """Engines, or the jobs a tenant may have at work: each takes the next job when it is free."""

    def __init__(self, busy: Iterable[float], *, count: int) -> None:
        """Take the seconds until each place in use is free; of `count`, 1 at least, in all."""
        self._free_in = sorted(max(0.0, seconds) for seconds in busy)
        self._idle = max(0, count - len(self._free_in))
        # To bring all places before one level with it, so many seconds of work have to be done.
        self._before: list[float] = [0.0]
        self._to_level: list[float] = []
        for index, seconds in enumerate(self._free_in):
            self._to_level.append((self._idle + index) * seconds - self._before[-1])
            self._before.append(self._before[-1] + seconds)

    def wait(self, work: float, *, typical: float) -> float:
        """Give the seconds until a place is free and `work` seconds of jobs have been taken.

        Jobs are not poured out like water: when the last of the places is taken, the others are in
        the midst of theirs, half a `typical` job each. So equal jobs whose ends are spread
        evenly come out right.
        """
        if work < self._idle * typical:
            return 0.0  # fewer jobs than idle places
        taken = bisect_left(self._to_level, work)
        taken = taken if self._idle else max(1, taken)
        places = self._idle + taken
        level = (work + self._before[taken]) / places
        soonest = 0.0 if self._idle else self._free_in[0]
        return max(soonest, level - (places - 1) / (2 * places) * typical)
