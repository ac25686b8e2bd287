"""How much a training sees and for how long: in full, or tiny to see that it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from worker.training.learning.course import Course


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of examples, and the most steps of a course.

    `pools` maps pixels of a side to how many scenes of that size the denoiser learns from; `diet`
    replaces that of every stage, where it is given.
    """

    autoencoder_images: int = 600
    checker_scenes: int = 4000
    pools: Mapping[int, int] = field(default_factory=lambda: {256: 8_000, 512: 300})
    most_steps: int | None = None
    diet: tuple[tuple[int, int], ...] | None = None

    def course(self, course: Course, folder: Path) -> Course:
        """Return `course` at this scale, keeping its checkpoints and losses in `folder`."""
        steps = course.steps if self.most_steps is None else min(course.steps, self.most_steps)
        return replace(course, steps=steps, folder=folder)


FULL: Final = Scale()
TINY: Final = Scale(
    autoencoder_images=4, checker_scenes=4, pools={64: 12}, most_steps=1, diet=((64, 2),)
)
