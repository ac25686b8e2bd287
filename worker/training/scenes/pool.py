"""Scenes with holes, encoded once and learned from many times: the denoiser sees latents alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from worker.training.networks.autoencoder import to_signal
from worker.training.scenes.holes import Mask, anywhere, hole_around
from worker.training.scenes.world import Random, Scene, imagine, paint

FACTOR: Final = 8  # pixels along a latent's side
_EMPTY: Final = 0.12  # how many scenes have nothing in the hole
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Pool:
    """Encoded pictures of one size, and the scenes they show.

    `latents` and `masked` (count × 4 × side × side) are scaled to a deviation of 1; `masks`
    (count × 1 × side × side) are 1 in the hole.
    """

    scenes: list[Scene]
    latents: Tensor
    masked: Tensor
    masks: Tensor


@dataclass(frozen=True, slots=True)
class Example:
    """A scene, and the hole that its thing, if it has one, lies in."""

    scene: Scene
    hole: Mask


def example(draw: Random, size: int) -> Example:
    """Think of a scene with a hole, `size` × `size` pixels."""
    scene = _scene(draw)
    place = scene.thing.place if scene.thing else anywhere(draw)
    return Example(scene, hole_around(draw, place, size))


def _scene(draw: Random) -> Scene:
    return imagine(draw, empty=bool(draw.random() < _EMPTY))


def hollowed(signal: Tensor, holes: Tensor) -> Tensor:
    """Give pictures whose holes are mid grey, as the inpainting pipelines feed them."""
    return signal * (holes < 0.5)


def filled_pool(model: AutoencoderKL, seed: int, size: int, count: int, file: Path) -> Pool:
    """Give `count` examples of `size` pixels, taken from `file` if they are there."""
    draws = [np.random.default_rng((seed, size, index)) for index in range(count)]
    if file.exists():
        # Scenes come first from their seeds: of what is encoded, holes need not be cut again.
        scenes = [_scene(draw) for draw in draws]
        kept = torch.load(file, weights_only=True)
    else:
        examples = [example(draw, size) for draw in draws]
        scenes = [each.scene for each in examples]
        parts = [
            _encoded(model, examples[start : start + _AT_ONCE], size)
            for start in range(0, count, _AT_ONCE)
        ]
        kept = [torch.cat(column) for column in zip(*parts, strict=True)]
        torch.save(kept, file)
    latents, masked, masks = kept
    return Pool(scenes, latents, masked, masks)


@torch.no_grad()
def _encoded(
    model: AutoencoderKL, examples: list[Example], size: int
) -> tuple[Tensor, Tensor, Tensor]:
    signal = to_signal(np.stack([paint(each.scene, size) for each in examples]))
    holes = torch.from_numpy(np.stack([each.hole for each in examples]))[:, None].float()
    both = torch.cat([signal, hollowed(signal, holes)])
    latents, masked = (
        (model.encode(both).latent_dist.mean * model.config.scaling_factor).half().chunk(2)
    )
    return latents, masked, holes[..., ::FACTOR, ::FACTOR]
