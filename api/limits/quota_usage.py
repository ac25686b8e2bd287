"""What is known of one tenant's unfinished jobs and spent credits, between two measurements."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from common.runtime.clock import monotonic

# One measurement serves for so long; what this gateway accepts meanwhile is added.
SPACING_SECONDS: Final = 1.0
# A measurement that takes long, as of a hundred thousand jobs, is made less often than that.
SPACING_BY_EFFORT: Final = 20
# Nobody is refused on one that is older than this part of the spacing.
CURRENT: Final = 0.1


class QuotaAmount(NamedTuple):
    """Waiting jobs, and credits in millionths: whole numbers, so that sums are exact."""

    jobs: int = 0
    credits: int = 0

    def plus(self, other: "QuotaAmount") -> "QuotaAmount":
        """Add."""
        return QuotaAmount(self.jobs + other.jobs, self.credits + other.credits)

    def minus(self, other: "QuotaAmount") -> "QuotaAmount":
        """Take away."""
        return QuotaAmount(self.jobs - other.jobs, self.credits - other.credits)


NOTHING: Final = QuotaAmount()


@dataclass(slots=True)
class QuotaUsage:
    """Waiting jobs and credits as last measured, and what this gateway has accepted since.

    A request holds room from its admission on, so that those under way at once are not all given
    the same. One that is recorded while the rows are measured counts twice until the next time: a
    little too much, never too little.
    """

    _measuring: asyncio.Lock = field(default_factory=asyncio.Lock)
    _measured: QuotaAmount = NOTHING
    _measured_at: float = float("-inf")
    _spacing: float = SPACING_SECONDS
    _held: QuotaAmount = NOTHING  # by all requests ever admitted, but for those that gave it back
    _recorded: QuotaAmount = NOTHING  # the part of it that is in the books
    _included: QuotaAmount = NOTHING  # the part of that which the measurement has seen

    @property
    def load(self) -> QuotaAmount:
        """What is to be reckoned with."""
        return self._measured.plus(self._held.minus(self._included))

    async def measure(self, read: Callable[[], Awaitable[QuotaAmount]], *, to_refuse: bool) -> None:
        """Measure, unless what is known is good enough; who comes meanwhile shares the result."""
        if self._is_known(to_refuse=to_refuse):
            return
        async with self._measuring:
            if self._is_known(to_refuse=to_refuse):
                return
            begun, included = monotonic(), self._recorded
            self._measured = await read()
            self._measured_at, self._included = begun, included
            self._spacing = max(SPACING_SECONDS, (monotonic() - begun) * SPACING_BY_EFFORT)

    def _is_known(self, *, to_refuse: bool) -> bool:
        spacing = self._spacing * CURRENT if to_refuse else self._spacing
        return self._measured_at + spacing > monotonic()

    def hold(self, load: QuotaAmount) -> "Reservation":
        """Keep room for a job about to be recorded."""
        self._held = self._held.plus(load)
        return Reservation(self, load)

    def take(self, load: QuotaAmount) -> None:
        """Note that a job that had room is in the books."""
        self._recorded = self._recorded.plus(load)

    def give_back(self, load: QuotaAmount) -> None:
        """Let others have the room."""
        self._held = self._held.minus(load)


class Reservation:
    """Room for one job; given back at the end of the block, unless the job has taken it."""

    __slots__ = ("_account", "_load")

    def __init__(self, account: QuotaUsage | None, load: QuotaAmount) -> None:
        self._account = account
        self._load = load

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._account is not None:
            self._account.give_back(self._load)

    def take(self) -> None:
        """Note that the job is in the books."""
        if self._account is not None:
            self._account.take(self._load)
            self._account = None


# For tenants without such limits: nobody reckons with it.
ENDLESS: Final = Reservation(None, NOTHING)
