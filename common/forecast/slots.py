"""Estimate of the time until one of several slots is free if jobs are started in order."""

from bisect import bisect_left
from collections.abc import Iterable


class Slots:
    """The slots of engines, or of a tenant's limit of running jobs; jobs take them in order."""

    def __init__(self, busy: Iterable[float], *, count: int) -> None:
        """Create `count` slots (at least 1).

        `busy` holds the seconds until each busy slot is free; all other slots are free.
        """
        self._free_in = sorted(max(0.0, seconds) for seconds in busy)
        self._idle = max(0, count - len(self._free_in))
        # `_to_level[i]`: seconds of work that keep all slots before slot i busy until it is free.
        self._before: list[float] = [0.0]
        self._to_level: list[float] = []
        for index, seconds in enumerate(self._free_in):
            self._to_level.append((self._idle + index) * seconds - self._before[-1])
            self._before.append(self._before[-1] + seconds)

    def seconds_until_free(self, work: float, *, typical: float) -> float:
        """Return the seconds until a slot is free after `work` seconds of jobs have been started.

        A job occupies a whole slot, so when the last job ahead starts, the other slots still have
        half of a `typical` job (in seconds) left on average. The result is corrected for this, and
        is exact for equal jobs that end at regular intervals.
        """
        if work < self._idle * typical:
            return 0.0  # fewer jobs than idle slots
        taken = bisect_left(self._to_level, work)
        taken = taken if self._idle else max(1, taken)
        slots = self._idle + taken
        level = (work + self._before[taken]) / slots
        soonest = 0.0 if self._idle else self._free_in[0]
        return max(soonest, level - (slots - 1) / (2 * slots) * typical)
