"""The stretches of the denoiser's training, and what each shows it."""

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
    """A stretch of the training: one course, and what its examples are like.

    `lateness` below 1 lets moments of much noise, where it is settled what will be seen, come more
    often than others. `outside` is how much a step's loss counts outside the hole, where the
    picture is known. `exaggeration` is the most by which what is in the hole is exaggerated (see
    `objective`).

    Each entry of `diet` is (pixels of a side, examples at once); losses take them in turn.
    `patterns` are the backgrounds it is shown, `say` words a scene, `earliest` is the least of
    the moments (0 to 999, the last is noise alone) it is asked about.
    """

    course: Course
    lateness: float
    outside: float
    exaggeration: float = 0.0
    diet: tuple[tuple[int, int], ...] = _MIXED
    patterns: tuple[str, ...] = PATTERNS
    say: Callable[[Random, Scene], str] = caption
    earliest: int = 0


# First what words mean: on quiet backgrounds, said in one way, when there is nothing but noise to
# go by. That takes minutes, and in the midst of all the rest it takes hours. Then to take back
# what guidance exaggerates, and last to give back exactly what is known.
STAGES: Final = (
    Stage(
        Course("words", steps=2000, rate=1.2e-3, folder=Path(), averaging=0.99, parts=2),
        lateness=0.7,
        outside=0.15,
        diet=((256, 8),),
        patterns=("plain", "gradient"),
        say=lambda _, scene: short_caption(scene),
        earliest=700,
    ),
    Stage(
        Course("full", steps=5000, rate=6e-4, folder=Path(), averaging=0.998, parts=2),
        lateness=0.85,
        outside=0.15,
    ),
    Stage(
        Course("guided", steps=1000, rate=2e-4, folder=Path(), averaging=0.995, parts=2),
        lateness=0.85,
        outside=0.6,
        exaggeration=5.0,
    ),
    Stage(
        Course("exact", steps=900, rate=3e-4, folder=Path(), averaging=0.99, parts=2),
        lateness=1.2,
        outside=1.0,
        exaggeration=1.0,
    ),
)
