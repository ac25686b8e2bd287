"""How fast a model draws, learnt from the jobs it drew last."""

import math
from dataclasses import dataclass
from typing import Final, Self

# A line is drawn through the samples only where they lie far enough apart to bear it: so many of
# them, whose costs differ by this part of their mean (standard deviation).
FEWEST_FITTED: Final = 10
LEAST_SPREAD: Final = 0.2
# Before a queue has finished its first job: a data-centre GPU at 512×512, with some to spare.
ASSUMED_SECONDS_PER_UNIT: Final = 0.5


@dataclass(frozen=True, slots=True)
class Workload:
    """An amount of work: so many jobs, of so many megapixel-steps together."""

    jobs: float = 0.0
    work: float = 0.0

    def __add__(self, other: "Workload") -> "Workload":
        return Workload(self.jobs + other.jobs, self.work + other.work)

    def part(self, share: float) -> "Workload":
        """Give this part of it."""
        return Workload(self.jobs * share, self.work * share)


@dataclass(frozen=True, slots=True)
class SpeedSamples:
    """The latest successes of a queue, as sums; costs in megapixel-steps."""

    count: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    cost_squared: float = 0.0
    cost_by_seconds: float = 0.0

    @property
    def seconds_each(self) -> float:
        """Give the mean time of one of them; 0 where there are none."""
        return self.seconds / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """The seconds of a job: some for each megapixel-step, and some whatever its size."""

    seconds_per_unit: float
    seconds_per_job: float = 0.0

    def seconds(self, load: Workload) -> float:
        """Give the time one engine needs for it."""
        return load.jobs * self.seconds_per_job + load.work * self.seconds_per_unit

    @classmethod
    def learnt(cls, samples: SpeedSamples) -> Self | None:
        """Fit a pace to what was measured; None before anything was.

        Least squares where the costs vary enough to tell the two parts apart and both parts come
        out as times that can be; else everything is laid to the size.
        """
        if samples.count == 0 or samples.cost <= 0:
            return None
        return cls._fitted(samples) or cls(samples.seconds / samples.cost)

    @classmethod
    def _fitted(cls, samples: SpeedSamples) -> Self | None:
        if samples.count < FEWEST_FITTED:
            return None
        mean_cost = samples.cost / samples.count
        variance = samples.cost_squared / samples.count - mean_cost**2
        if variance <= 0 or math.sqrt(variance) < LEAST_SPREAD * mean_cost:
            return None
        covariance = samples.cost_by_seconds / samples.count - mean_cost * samples.seconds_each
        per_unit = covariance / variance
        per_job = samples.seconds_each - per_unit * mean_cost
        return cls(per_unit, per_job) if per_unit > 0 and per_job >= 0 else None


ASSUMED_PACE: Final = Pace(ASSUMED_SECONDS_PER_UNIT)
