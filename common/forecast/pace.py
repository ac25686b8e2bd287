"""The speed of a model, estimated from its latest jobs."""

import math
from dataclasses import dataclass
from typing import Final, Self

# A straight line is fitted only to enough samples, at least this many, whose costs differ enough:
# their standard deviation is at least this fraction of their mean.
FEWEST_FITTED: Final = 10
LEAST_SPREAD: Final = 0.2
# Before a queue has finished its first job: a data-centre GPU at 512×512, rounded up.
ASSUMED_SECONDS_PER_UNIT: Final = 0.5


@dataclass(frozen=True, slots=True)
class Workload:
    """A number of jobs and their total cost in megapixel-steps."""

    jobs: float = 0.0
    work: float = 0.0

    def __add__(self, other: "Workload") -> "Workload":
        return Workload(self.jobs + other.jobs, self.work + other.work)

    def scale(self, factor: float) -> "Workload":
        """Return this workload multiplied by `factor`."""
        return Workload(self.jobs * factor, self.work * factor)


@dataclass(frozen=True, slots=True)
class SpeedSamples:
    """Sums over a queue's latest succeeded jobs: costs in megapixel-steps, times in seconds."""

    count: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    cost_squared: float = 0.0
    cost_by_seconds: float = 0.0

    @property
    def mean_seconds(self) -> float:
        """Mean engine time per job in seconds; 0 if there are no samples."""
        return self.seconds / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Median seconds of a queue's latest jobs outside their steps.

    `fetch` is from the claim to the decoded input images, `decode` from the last step to the
    generated images (None if it was not measured), and `upload` from there to the stored images.
    """

    fetch: float = 0.0
    decode: float | None = None
    upload: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Engine time of jobs: seconds per megapixel-step, plus a fixed number of seconds per job."""

    seconds_per_unit: float
    seconds_per_job: float = 0.0

    def seconds_for(self, load: Workload) -> float:
        """Return the engine time for `load`, in seconds of one engine."""
        return load.jobs * self.seconds_per_job + load.work * self.seconds_per_unit

    @classmethod
    def fit(cls, samples: SpeedSamples) -> Self | None:
        """Return the pace fitted to the samples, or None if there are none.

        Uses least squares if the costs vary enough to separate the two parts and neither part is
        negative; otherwise attributes all time to the cost.
        """
        if samples.count == 0 or samples.cost <= 0:
            return None
        return cls._fit_line(samples) or cls(samples.seconds / samples.cost)

    @classmethod
    def _fit_line(cls, samples: SpeedSamples) -> Self | None:
        if samples.count < FEWEST_FITTED:
            return None
        mean_cost = samples.cost / samples.count
        variance = samples.cost_squared / samples.count - mean_cost**2
        if variance <= 0 or math.sqrt(variance) < LEAST_SPREAD * mean_cost:
            return None
        covariance = samples.cost_by_seconds / samples.count - mean_cost * samples.mean_seconds
        per_unit = covariance / variance
        per_job = samples.mean_seconds - per_unit * mean_cost
        return cls(per_unit, per_job) if per_unit > 0 and per_job >= 0 else None


ASSUMED_PACE: Final = Pace(ASSUMED_SECONDS_PER_UNIT)
