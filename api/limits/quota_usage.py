"""A tenant's usage of its quotas (waiting jobs, credits): last measurement plus later changes."""

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
    """A number of waiting jobs, and credits in integer millionths, so that sums are exact."""

    jobs: int = 0
    credits: int = 0

    def plus(self, other: "QuotaAmount") -> "QuotaAmount":
        """Return the sum of both amounts."""
        return QuotaAmount(self.jobs + other.jobs, self.credits + other.credits)

    def minus(self, other: "QuotaAmount") -> "QuotaAmount":
        """Return the difference of both amounts."""
        return QuotaAmount(self.jobs - other.jobs, self.credits - other.credits)


NOTHING: Final = QuotaAmount()


class QuotaScope(NamedTuple):
    """Cache key of a tenant's usage: the tenant and the quotas for which the usage was measured.

    Jobs are counted up to `max_queued` only, so a count cannot be reused after a change of quotas.
    """

    tenant_id: int
    max_queued: int
    monthly_credits: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """Usage read from Postgres; `included` is the total this gateway had recorded before."""

    amount: QuotaAmount
    included: QuotaAmount


class QuotaUsage:
    """The amounts that this gateway has reserved and recorded for one tenant.

    Each request reserves an amount before its job is recorded, so that concurrent requests cannot
    use the same remainder of a quota. A job recorded during a measurement is counted twice until
    the next one: the usage may be slightly too high, but never too low.
    """

    def __init__(self, scope: QuotaScope) -> None:
        self.scope = scope
        self._reserved = NOTHING  # of all requests so far, except those that failed
        self._recorded = NOTHING  # the part of it that is in Postgres

    async def measure(self, read: Callable[[], Awaitable[QuotaAmount]]) -> Reading[Measurement]:
        """Read the tenant's usage from Postgres; results of slow reads are cached for longer."""
        begun, included = monotonic(), self._recorded
        amount = await read()
        duration = monotonic() - begun
        fresh_seconds = max(FRESH_SECONDS, duration * FRESH_PER_DURATION)
        return Reading(Measurement(amount, included), fresh_seconds)

    def total(self, measurement: Measurement) -> QuotaAmount:
        """Return the measured usage plus all amounts reserved since the measurement."""
        return measurement.amount.plus(self._reserved.minus(measurement.included))

    def reserve(self, amount: QuotaAmount) -> "Reservation":
        """Reserve an amount for a job that is about to be recorded."""
        self._reserved = self._reserved.plus(amount)
        return Reservation(self, amount)

    def record(self, amount: QuotaAmount) -> None:
        """Count a reserved amount as recorded in Postgres."""
        self._recorded = self._recorded.plus(amount)

    def release(self, amount: QuotaAmount) -> None:
        """Cancel a reservation, so that its amount is available again."""
        self._reserved = self._reserved.minus(amount)


class Reservation:
    """An amount reserved for one job; released at the end of the `with` block unless kept."""

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
        """Keep the amount reserved beyond the block, because the job has been recorded."""
        if self._usage is not None:
            self._usage.record(self._amount)
            self._usage = None


# For requests that no quota limits; shared, because it counts nothing.
UNLIMITED: Final = Reservation(None, NOTHING)
