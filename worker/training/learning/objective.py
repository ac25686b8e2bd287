"""What the denoiser's training lowers."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from worker.training.learning.stages import Stage
from worker.training.scenes.world import Random

# How strong the casts are that guidance may throw on all of a picture, in deviations of latents.
_CAST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Captioned:
    """Some of a pool, in full precision, and what is said of each."""

    captions: list[str]
    latents: Tensor
    masked: Tensor
    masks: Tensor


def loss(
    model: Any, scheduler: DDIMScheduler, given: Captioned, stage: Stage, draw: Random
) -> Tensor:
    """Mean square of how far the velocity is off, weighed by the noise at the moment.

    Where there is much, words are what is left to go by; where there is little, a velocity that
    is off does less harm. By its amount, not by its square: then the last traces of noise would
    not be worth removing.
    """
    noise = torch.from_numpy(draw.standard_normal(given.latents.shape, dtype=np.float32))
    moments = _moments(scheduler, len(noise), stage, draw)
    gone = (1 - scheduler.alphas_cumprod[moments])[:, None, None, None]
    shown, target = given.latents, 0.0
    if stage.exaggeration:
        added = exaggerated(given, stage.exaggeration, draw)
        shown = shown + gone * added
        # The velocity that leads to what was there before.
        target = gone.sqrt() * added
    target = target + scheduler.get_velocity(shown, noise, moments)
    noisy = scheduler.add_noise(shown, noise, moments)
    velocity = model(torch.cat([noisy, given.masks, given.masked], 1), moments, given.captions)
    weight = stage.outside + (1 - stage.outside) * given.masks
    off = (velocity - target).square()
    total = (off * weight * gone.sqrt()).sum()
    mean: Tensor = total / (weight.sum() * off.shape[1])
    return mean


def exaggerated(given: Captioned, most: float, draw: Random) -> Tensor:
    """Give what guidance may add to half of `given`, contrast in the holes up to `most` times.

    Guidance exaggerates what the caption changes: the thing is turned away from the background's
    colour, and what is left of the background from the thing's. Of a mean of the hole both are.
    And what the caption changes everywhere, be it as little as may be, becomes a cast.
    """
    area = given.masks.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (given.latents * given.masks).sum((2, 3), keepdim=True) / area
    count, channels = given.latents.shape[:2]
    share = np.clip(draw.uniform(-1, 1, (count, 1)), 0, None)
    cast = share * _CAST * draw.standard_normal((count, channels))
    contrast = _spread(most * share) * (given.latents - mean) * given.masks
    return contrast + _spread(cast)


def _spread(values: npt.NDArray[np.float64]) -> Tensor:
    """Let one value for each example (and channel) stand for all its pixels."""
    return torch.from_numpy(values.astype(np.float32))[:, :, None, None]


def _moments(scheduler: DDIMScheduler, count: int, stage: Stage, draw: Random) -> Tensor:
    late = draw.random(count) ** stage.lateness
    span = len(scheduler.alphas_cumprod) - stage.earliest
    return torch.from_numpy((stage.earliest + span * late).astype(np.int64))
