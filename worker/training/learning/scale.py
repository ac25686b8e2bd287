"""Size of a training run: full, or tiny to test that it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from worker.training.learning.course import Course


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of examples, and the most steps of a course.

    `pools` maps the side of a scene in pixels to the number of such scenes in the denoiser's
    training data; `batches` replaces those of every stage, where given.
    """

    autoencoder_images: int = 600
    checker_scenes: int = 4000
    pools: Mapping[int, int] = field(default_factory=lambda: {256: 8_000, 512: 300})
    most_steps: int | None = None
    batches: tuple[tuple[int, int], ...] | None = None

    def scale_course(self, course: Course, folder: Path) -> Course:
        """Return `course` at this scale, keeping its checkpoints and losses in `folder`."""
        steps = course.steps if self.most_steps is None else min(course.steps, self.most_steps)
        return replace(course, steps=steps, folder=folder)


FULL: Final = Scale()
TINY: Final = Scale(
    autoencoder_images=4, checker_scenes=4, pools={64: 12}, most_steps=1, batches=((64, 2),)
)
