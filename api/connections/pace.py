"""The least rate of a transfer, with a time-out: a deadline that each byte moves."""


class Pace:
    """Deadline of a transfer, `grace` seconds ahead at first.

    Each byte moves the deadline by 1 / `rate` seconds, but never further than `grace` ahead. A
    transfer therefore ends if it pauses for `grace` seconds, or when it has been slower than `rate`
    bytes per second for so long that `grace` is used up.
    """

    def __init__(self, rate: float, grace: float) -> None:
        self._rate = rate
        self._grace = grace
        self._deadline = 0.0

    def restart(self, now: float) -> None:
        """Set the deadline to `grace` seconds from now."""
        self._deadline = now + self._grace

    def advance(self, count: int, now: float) -> None:
        """Move the deadline by the time that `count` bytes take at the least rate."""
        self._deadline = min(self._deadline + count / self._rate, now + self._grace)

    def is_late(self, now: float) -> bool:
        """Return whether the deadline has passed."""
        return now >= self._deadline
