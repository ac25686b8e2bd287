"""The time that a running job still needs, by its own measured steps."""

from dataclasses import dataclass
from typing import Final

from common.forecast.pace import StageSeconds

# Until the decoding of a model has been measured: an image takes about as long as two of its steps.
DECODING_STEPS: Final = 2
# From so many measured steps on, the measurement alone counts. The first ones include the work on
# other requests that have just joined the batch.
TRUSTED_STEPS: Final = 4


@dataclass(frozen=True, slots=True)
class StepProgress:
    """The finished steps of a running job, and how long they took.

    `step` of `steps` are finished, counted over all images (`steps` is at least 1). `step_seconds`
    is their measured mean duration, or None. `age_seconds` is the time since the latest step.
    """

    step: int
    steps: int
    step_seconds: float | None
    age_seconds: float

    def seconds_left(
        self, expected: float, stages: StageSeconds, *, images: int, is_measured: bool
    ) -> float:
        """Return the seconds until the job has ended.

        `expected` is the duration of a step by the speed of the model, which `is_measured`, or else
        assumed. The current step may take longer than the others, but is never counted as finished.
        """
        each = self._seconds_per_step(expected, is_measured=is_measured)
        left = max(0, self.steps - self.step)
        decoding = DECODING_STEPS * images * each if stages.decode is None else stages.decode
        after = decoding + stages.upload
        age = max(0.0, self.age_seconds)
        return (left * each - min(age, each) + after) if left else max(0.0, after - age)

    def _seconds_per_step(self, expected: float, *, is_measured: bool) -> float:
        """Return `expected` before steps are measured, then more and more their own duration."""
        if self.step_seconds is None:
            return expected
        trust = min(1.0, (self.step - 1) / TRUSTED_STEPS) if is_measured else 1.0
        return expected + (self.step_seconds - expected) * trust
