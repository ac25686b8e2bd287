"""Draws with a finished model as callers would, many pictures at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from worker.training.scenes.holes import Mask, hole_around
from worker.training.scenes.world import Pixels, Random, Scene, Thing, imagine, other_thing, paint

STEPS: Final = 20
GUIDANCE: Final = 1.5
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Task:
    """A hole to fill: the picture with its hole, and the thing that is asked for."""

    scene: Scene
    picture: Pixels
    hole: Mask
    asked: Thing
    seed: int

    @property
    def prompt(self) -> str:
        """Ask for the thing in plain words."""
        article = "an" if self.asked.colour[0] in "aeiou" else "a"
        return f"{article} {self.asked.colour} {self.asked.shape}"


def task(draw: Random, size: int) -> Task:
    """Think of a scene, and of another thing to be drawn in the place of its own."""
    scene = imagine(draw)
    while scene.thing is None:
        scene = imagine(draw)
    place = scene.thing.place
    return Task(
        scene=scene,
        picture=paint(scene, size),
        hole=hole_around(draw, place, size),
        asked=other_thing(draw, scene, place),
        seed=int(draw.integers(2**31)),
    )


def fill(
    pipeline: Any, tasks: Sequence[Task], prompts: Sequence[str] | None = None, **options: Any
) -> list[Pixels]:
    """Fill the holes of `tasks`; each picture depends on its own task alone.

    `prompts` replaces the tasks' own; `options` go to the pipeline.
    """
    said = [each.prompt for each in tasks] if prompts is None else list(prompts)
    drawn: list[Pixels] = []
    for start in range(0, len(tasks), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        drawn += _fill_at_once(pipeline, tasks[part], said[part], options)
    return drawn


def _fill_at_once(
    pipeline: Any, tasks: Sequence[Task], prompts: list[str], options: dict[str, Any]
) -> list[Pixels]:
    size = len(tasks[0].hole)
    settings = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "strength": 1.0}
    negative = options.get("negative_prompt")
    drawn = pipeline(
        prompt=prompts,
        image=[Image.fromarray(each.picture.astype(np.uint8)) for each in tasks],
        mask_image=[Image.fromarray(each.hole.astype(np.uint8) * 255) for each in tasks],
        width=size,
        height=size,
        generator=[torch.Generator().manual_seed(each.seed) for each in tasks],
        output_type="np",
        **settings
        | options
        | ({} if negative is None else {"negative_prompt": [negative] * len(tasks)}),
    ).images
    return [(each * 255).astype(np.float32) for each in drawn]
