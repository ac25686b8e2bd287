"""One tenant's waiting jobs and spent credits: as last measured, and as changed since then."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from common.runtime.clock import monotonic
from common.runtime.single_flight import Reading

# A measurement serves for this time; jobs that this gateway accepts meanwhile are added.
FRESH_SECONDS: Final = 1.0
# A slow measurement, as of a hundred thousand jobs, serves this many times its own duration.
FRESH_PER_DURATION: Final = 20


class QuotaAmount(NamedTuple):
    """Waiting jobs, and credits in millionths: whole numbers, so that sums are exact."""

    jobs: int = 0
    credits: int = 0

    def plus(self, other: "QuotaAmount") -> "QuotaAmount":
        """Return the sum."""
        return QuotaAmount(self.jobs + other.jobs, self.credits + other.credits)

    def minus(self, other: "QuotaAmount") -> "QuotaAmount":
        """Return the difference."""
        return QuotaAmount(self.jobs - other.jobs, self.credits - other.credits)


NOTHING: Final = QuotaAmount()


class QuotaScope(NamedTuple):
    """A tenant and its quotas; changed quotas start a new usage.

    `max_queued` bounds how far jobs are counted, so an old count is no use under a new quota.
    """

    tenant_id: int
    max_queued: int
    monthly_credits: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """An amount read from Postgres; `included` is the part this gateway had recorded by then."""

    amount: QuotaAmount
    included: QuotaAmount


class QuotaUsage:
    """The amounts this gateway has reserved and recorded for one tenant.

    Concurrent requests reserve before they record, so that they cannot all take the same rest of
    a quota. A job recorded during a measurement counts twice until the next one: the usage may be
    slightly too high, never too low.
    """

    def __init__(self, scope: QuotaScope) -> None:
        self.scope = scope
        self._reserved = NOTHING  # of all requests so far, except those that failed
        self._recorded = NOTHING  # the part of it that is in Postgres

    async def measure(self, read: Callable[[], Awaitable[QuotaAmount]]) -> Reading[Measurement]:
        """Read the amount from Postgres; after a slow read it stays fresh longer."""
        begun, included = monotonic(), self._recorded
        amount = await read()
        duration = monotonic() - begun
        fresh_seconds = max(FRESH_SECONDS, duration * FRESH_PER_DURATION)
        return Reading(Measurement(amount, included), fresh_seconds)

    def total(self, measurement: Measurement) -> QuotaAmount:
        """Return the measured amount plus all reserved since."""
        return measurement.amount.plus(self._reserved.minus(measurement.included))

    def reserve(self, amount: QuotaAmount) -> "Reservation":
        """Reserve an amount for a job about to be recorded."""
        self._reserved = self._reserved.plus(amount)
        return Reservation(self, amount)

    def record(self, amount: QuotaAmount) -> None:
        """Count a reserved amount as recorded in Postgres."""
        self._recorded = self._recorded.plus(amount)

    def release(self, amount: QuotaAmount) -> None:
        """Make a reserved amount available again."""
        self._reserved = self._reserved.minus(amount)


class Reservation:
    """An amount reserved for one job; released at the end of the block unless kept."""

    __slots__ = ("_amount", "_usage")

    def __init__(self, usage: QuotaUsage | None, amount: QuotaAmount) -> None:
        self._usage = usage
        self._amount = amount

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._usage is not None:
            self._usage.release(self._amount)

    def keep(self) -> None:
        """Keep the amount: the job has been recorded."""
        if self._usage is not None:
            self._usage.record(self._amount)
            self._usage = None


# For requests that no quota limits; shared, because it counts nothing.
UNLIMITED: Final = Reservation(None, NOTHING)
