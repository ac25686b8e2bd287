"""The size of a training run: full, or tiny for tests of the training code."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from worker.training.learning.course import Course


@dataclass(frozen=True, slots=True)
class Scale:
    """Amounts of training data, and an upper limit on the steps of each training run.

    `pools` maps an image side in pixels to the number of scenes of that size in the denoiser's
    training data. `most_steps` is the maximum number of steps of each run; None means no limit.
    `batches`, if not None, replaces the `batches` of every `Stage`.
    """

    autoencoder_images: int = 600
    checker_scenes: int = 4000
    pools: Mapping[int, int] = field(default_factory=lambda: {256: 8_000, 512: 300})
    most_steps: int | None = None
    batches: tuple[tuple[int, int], ...] | None = None

    def scale_course(self, course: Course, folder: Path) -> Course:
        """Return `course` with its steps limited to `most_steps` and its folder set to `folder`."""
        steps = course.steps if self.most_steps is None else min(course.steps, self.most_steps)
        return replace(course, steps=steps, folder=folder)


FULL: Final = Scale()
TINY: Final = Scale(
    autoencoder_images=4, checker_scenes=4, pools={64: 12}, most_steps=1, batches=((64, 2),)
)
