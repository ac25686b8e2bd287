"""The denoiser's training loss: velocity error, with simulated side effects of guidance."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from worker.training.learning.stages import Stage
from worker.training.scenes.world import Random

# Strength of simulated colour casts over the whole image, in standard deviations of latents.
_CAST: Final = 0.5


@dataclass(frozen=True, slots=True)
class CaptionedBatch:
    """A training batch: captions, and float32 tensors of encoded images.

    `latents` and `masked` (the latents of the images with the hole filled with grey) are count × 4
    × side × side; `masks` are count × 1 × side × side, 1 in the hole.
    """

    captions: list[str]
    latents: Tensor
    masked: Tensor
    masks: Tensor


def loss(
    model: Any, scheduler: DDIMScheduler, batch: CaptionedBatch, stage: Stage, rng: Random
) -> Tensor:
    """Return the scalar training loss: mean squared velocity error, weighted by the noise level.

    At high noise the caption decides what is generated; at low noise a velocity error does little
    harm. The weight is the standard deviation of the noise rather than its variance: with the
    variance, removing the last traces of noise would hardly change the loss.
    """
    noise = torch.from_numpy(rng.standard_normal(batch.latents.shape, dtype=np.float32))
    timesteps = _random_timesteps(scheduler, len(noise), stage, rng)
    noise_share = (1 - scheduler.alphas_cumprod[timesteps])[:, None, None, None]
    latents, target = batch.latents, 0.0
    if stage.exaggeration:
        exaggeration = exaggeration_of(batch, stage.exaggeration, rng)
        latents = latents + noise_share * exaggeration
        # The velocity that leads to the latents without exaggeration.
        target = noise_share.sqrt() * exaggeration
    target = target + scheduler.get_velocity(latents, noise, timesteps)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    velocity = model(torch.cat([noisy, batch.masks, batch.masked], 1), timesteps, batch.captions)
    weight = stage.outside_weight + (1 - stage.outside_weight) * batch.masks
    error = (velocity - target).square()
    total = (error * weight * noise_share.sqrt()).sum()
    mean: Tensor = total / (weight.sum() * error.shape[1])
    return mean


def exaggeration_of(batch: CaptionedBatch, most: float, rng: Random) -> Tensor:
    """Return offsets for `batch.latents` that simulate how guidance exaggerates colours.

    About half of the examples get an offset; the other half get zeros. Inside the hole, contrast
    around the hole's mean latent is increased by a factor of up to 1 + `most`: classifier-free
    guidance moves the coloured shape away from the background's colour, and the background away
    from the shape's colour. A random colour cast is added to the whole image, since guidance also
    amplifies small changes that the caption makes everywhere. The shape is that of `batch.latents`.
    """
    area = batch.masks.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (batch.latents * batch.masks).sum((2, 3), keepdim=True) / area
    count, channels = batch.latents.shape[:2]
    share = np.clip(rng.uniform(-1, 1, (count, 1)), 0, None)
    cast = share * _CAST * rng.standard_normal((count, channels))
    contrast = _broadcast(most * share) * (batch.latents - mean) * batch.masks
    return contrast + _broadcast(cast)


def _broadcast(values: npt.NDArray[np.float64]) -> Tensor:
    """Return `values` (count × 1 or count × channels) as a float32 tensor with two more dimensions.

    The added dimensions of length 1 let the values broadcast over height and width.
    """
    return torch.from_numpy(values.astype(np.float32))[:, :, None, None]


def _random_timesteps(scheduler: DDIMScheduler, count: int, stage: Stage, rng: Random) -> Tensor:
    late = rng.random(count) ** stage.noise_exponent
    span = len(scheduler.alphas_cumprod) - stage.min_timestep
    return torch.from_numpy((stage.min_timestep + span * late).astype(np.int64))
