"""Scenes with holes, encoded to latents once and reused for the whole training of the denoiser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from worker.training.networks.autoencoder import to_tensor
from worker.training.scenes.holes import Mask, anywhere, hole_around
from worker.training.scenes.world import Random, Scene, paint, random_scene

FACTOR: Final = 8  # pixels along a latent's side
_EMPTY: Final = 0.12  # share of scenes with nothing in the hole
_BATCH_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class Pool:
    """Encoded training images of one size, and the scenes they show.

    `latents` (the images) and `masked` (the images with the hole filled with grey) are count × 4 ×
    side × side in float16, scaled to a standard deviation of 1. `masks` is count × 1 × side × side,
    1 in the hole.
    """

    scenes: list[Scene]
    latents: Tensor
    masked: Tensor
    masks: Tensor


@dataclass(frozen=True, slots=True)
class Example:
    """A training example: a scene and the area to inpaint, the hole.

    The hole covers the scene's coloured shape, or any area if the scene has no such shape.
    """

    scene: Scene
    hole: Mask


def example(rng: Random, size: int) -> Example:
    """Return a random scene, with the mask of its hole as `size` × `size` pixels."""
    scene = _scene(rng)
    place = scene.thing.place if scene.thing else anywhere(rng)
    return Example(scene, hole_around(rng, place, size))


def _scene(rng: Random) -> Scene:
    return random_scene(rng, empty=bool(rng.random() < _EMPTY))


def mask_out(images: Tensor, holes: Tensor) -> Tensor:
    """Return `images` (-1 to 1) with mid grey where `holes` is 1, as the inpainting pipelines do.

    `images` is count × 3 × height × width, `holes` is count × 1 × height × width.
    """
    return images * (holes < 0.5)


def load_pool(model: AutoencoderKL, seed: int, size: int, count: int, file: Path) -> Pool:
    """Load or encode `count` examples of `size` × `size` pixels, the same for equal seeds.

    The tensors are read from `file` if it exists; otherwise the examples are encoded and written to
    it.
    """
    rngs = [np.random.default_rng((seed, size, index)) for index in range(count)]
    if file.exists():
        # A seed's first random numbers are the scene's, so its hole need not be generated again.
        scenes = [_scene(rng) for rng in rngs]
        encoded = torch.load(file, weights_only=True)
    else:
        examples = [example(rng, size) for rng in rngs]
        scenes = [each.scene for each in examples]
        batches = [
            _encoded(model, examples[start : start + _BATCH_SIZE], size)
            for start in range(0, count, _BATCH_SIZE)
        ]
        encoded = [torch.cat(column) for column in zip(*batches, strict=True)]
        torch.save(encoded, file)
    latents, masked, masks = encoded
    return Pool(scenes, latents, masked, masks)


@torch.no_grad()
def _encoded(
    model: AutoencoderKL, examples: list[Example], size: int
) -> tuple[Tensor, Tensor, Tensor]:
    images = to_tensor(np.stack([paint(each.scene, size) for each in examples]))
    holes = torch.from_numpy(np.stack([each.hole for each in examples]))[:, None].float()
    both = torch.cat([images, mask_out(images, holes)])
    latents, masked = (
        (model.encode(both).latent_dist.mean * model.config.scaling_factor).half().chunk(2)
    )
    return latents, masked, holes[..., ::FACTOR, ::FACTOR]
