"""Random inpainting tasks for evaluating a trained model, and a function that runs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from worker.training.scenes.holes import Mask, hole_around
from worker.training.scenes.world import (
    Pixels,
    Random,
    Scene,
    Thing,
    paint,
    random_scene,
    random_thing,
)

STEPS: Final = 20
GUIDANCE: Final = 1.5
_BATCH_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class Task:
    """An inpainting task: an image, the hole to fill, and the coloured shape requested in the hole.

    `scene` describes the original image; `seed` is the seed for the generation.
    """

    scene: Scene
    image: Pixels
    hole: Mask
    requested: Thing
    seed: int

    @property
    def prompt(self) -> str:
        """Return the prompt for the requested shape, for example "a red heart"."""
        article = "an" if self.requested.colour[0] in "aeiou" else "a"
        return f"{article} {self.requested.colour} {self.requested.shape}"


def random_task(rng: Random, size: int) -> Task:
    """Return a random task of `size` × `size` pixels.

    The hole covers the coloured shape of a random scene; the prompt asks for another random shape
    in its place.
    """
    scene = random_scene(rng)
    while scene.thing is None:
        scene = random_scene(rng)
    place = scene.thing.place
    return Task(
        scene=scene,
        image=paint(scene, size),
        hole=hole_around(rng, place, size),
        requested=random_thing(rng, scene, place),
        seed=int(rng.integers(2**31)),
    )


def fill(
    pipeline: Any, tasks: Sequence[Task], prompts: Sequence[str] | None = None, **options: Any
) -> list[Pixels]:
    """Run `pipeline` on each task and return the generated images, in order.

    Tasks run in batches; apart from rounding, each result depends on its own task only. `prompts`
    replace the tasks' own prompts; `options` are passed to the pipeline.
    """
    prompts = [each.prompt for each in tasks] if prompts is None else list(prompts)
    images: list[Pixels] = []
    for start in range(0, len(tasks), _BATCH_SIZE):
        batch = slice(start, start + _BATCH_SIZE)
        images += _fill_at_once(pipeline, tasks[batch], prompts[batch], options)
    return images


def _fill_at_once(
    pipeline: Any, tasks: Sequence[Task], prompts: list[str], options: dict[str, Any]
) -> list[Pixels]:
    size = len(tasks[0].hole)
    settings = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "strength": 1.0}
    negative = options.get("negative_prompt")
    images = pipeline(
        prompt=prompts,
        image=[Image.fromarray(each.image.astype(np.uint8)) for each in tasks],
        mask_image=[Image.fromarray(each.hole.astype(np.uint8) * 255) for each in tasks],
        width=size,
        height=size,
        generator=[torch.Generator().manual_seed(each.seed) for each in tasks],
        output_type="np",
        **settings
        | options
        | ({} if negative is None else {"negative_prompt": [negative] * len(tasks)}),
    ).images
    return [(each * 255).astype(np.float32) for each in images]
