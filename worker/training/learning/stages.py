"""The four stages of the denoiser's training: hyperparameters and training examples of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.training.learning.course import Course
from worker.training.scenes.captions import caption, short_caption
from worker.training.scenes.world import PATTERNS, Random, Scene

_MIXED: Final = (*((256, 8),) * 18, *((512, 2),) * 2)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the denoiser's training: its hyperparameters (`course`) and training examples.

    `noise_exponent` is the power applied to uniform random numbers before they are scaled to
    timesteps: if it is below 1, high noise levels, which decide the content, are more frequent.
    `outside_weight` is the weight of the loss outside the hole, where the image is known; it is 1
    inside. `exaggeration` is the largest simulated exaggeration by guidance (see
    `objective.exaggeration_of`).

    `batches` lists (image side in pixels, number of examples) pairs, used in rotation. `patterns`
    are the background patterns of the scenes used, `describe` returns the caption of a scene, and
    `min_timestep` is the smallest timestep trained (of 0 to 999, where 999 is almost pure noise).
    """

    course: Course
    noise_exponent: float
    outside_weight: float
    exaggeration: float = 0.0
    batches: tuple[tuple[int, int], ...] = _MIXED
    patterns: tuple[str, ...] = PATTERNS
    describe: Callable[[Random, Scene], str] = caption
    min_timestep: int = 0


# First the words: on quiet backgrounds, with one wording, at high noise levels, where only the
# caption helps. That takes minutes; mixed with everything else it takes hours. Then removing the
# exaggeration of guidance, and last reproducing the known parts exactly.
STAGES: Final = (
    Stage(
        Course("words", steps=2000, rate=1.2e-3, folder=Path(), averaging=0.99, parts=2),
        noise_exponent=0.7,
        outside_weight=0.15,
        batches=((256, 8),),
        patterns=("plain", "gradient"),
        describe=lambda _, scene: short_caption(scene),
        min_timestep=700,
    ),
    Stage(
        Course("full", steps=5000, rate=6e-4, folder=Path(), averaging=0.998, parts=2),
        noise_exponent=0.85,
        outside_weight=0.15,
    ),
    Stage(
        Course("guided", steps=1000, rate=2e-4, folder=Path(), averaging=0.995, parts=2),
        noise_exponent=0.85,
        outside_weight=0.6,
        exaggeration=5.0,
    ),
    Stage(
        Course("exact", steps=900, rate=3e-4, folder=Path(), averaging=0.99, parts=2),
        noise_exponent=1.2,
        outside_weight=1.0,
        exaggeration=1.0,
    ),
)
