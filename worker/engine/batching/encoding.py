"""Encode the prompts and images of several requests into samples ready for denoising."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from worker.engine.batching.active_request import ActiveRequest, Sample
from worker.engine.batching.components import PipelineComponents
from worker.engine.batching.prepared_request import PreparedRequest, SampleStart
from worker.engine.devices.device import Device
from worker.engine.prompts.conditioning import PromptEmbeds


@dataclass(frozen=True, slots=True)
class _LatentDistributions:
    """Distributions of the latents of a request's init image and masked image.

    Each is a (mean, standard deviation) pair of tensors, or None if that image is not encoded.
    """

    init: Any = None
    masked: Any = None


@torch.inference_mode()
def encode(active_requests: Sequence[ActiveRequest], device: Device) -> list[list[Sample]]:
    """Encode prompts and images; return the samples of each request, with tensors on the device.

    All requests must have the same model and shape. Each prompt and each image is encoded once,
    regardless of the number of samples.
    """
    components = active_requests[0].prepared.components
    guided = components.prompt_encoder.encode(
        [active.prepared.prompt for active in active_requests]
    )
    encoded = _encode_images(components, [active.prepared for active in active_requests], device)
    return [
        [
            _new_sample(active, start, prompt_embeds, latents, device)
            for start in active.prepared.starts
        ]
        for active, prompt_embeds, latents in zip(active_requests, guided, encoded, strict=True)
    ]


def _encode_images(
    components: PipelineComponents, prepared_requests: Sequence[PreparedRequest], device: Device
) -> list[_LatentDistributions]:
    inputs = [
        (index, name, image)
        for index, prepared in enumerate(prepared_requests)
        for name, image, needed in (
            ("init", prepared.init, prepared.needs_init),
            ("masked", prepared.masked, components.takes_mask),
        )
        if needed and image is not None
    ]
    distributions: list[dict[str, Any]] = [{} for _ in prepared_requests]
    if inputs:
        # Through the narrower type first, as diffusers' pipelines do.
        images = torch.cat([image for _, _, image in inputs]).to(components.dtype)
        images = device.upload(images).to(components.vae_dtype)
        distribution = components.vae.encode(images).latent_dist
        for (index, name, _), mean, deviation in zip(
            inputs, distribution.mean.split(1), distribution.std.split(1), strict=True
        ):
            distributions[index][name] = (mean, deviation)
    return [_LatentDistributions(**each) for each in distributions]


def _new_sample(
    active: ActiveRequest,
    start: SampleStart,
    guided: PromptEmbeds,
    encoded: _LatentDistributions,
    device: Device,
) -> Sample:
    prepared, components = active.prepared, active.prepared.components
    noise = device.upload(start.draws.noise)
    init_latents = _sample_latents(components, encoded.init, start.draws.init, device)
    masked = _sample_latents(components, encoded.masked, start.draws.masked, device)
    scheduler = start.timesteps.scheduler
    if prepared.starts_from_noise:
        latents = noise * scheduler.init_noise_sigma
    else:
        latents = scheduler.add_noise(init_latents, noise, torch.stack(start.timesteps.values[:1]))
    sample = Sample(active, start, latents, guided)
    if prepared.mask is not None:
        mask = device.upload(prepared.mask.to(components.dtype))
        if prepared.is_blended:
            sample.init_latents, sample.noise, sample.mask = init_latents, noise, mask
        else:
            sample.extra_channels = torch.cat([mask, cast("torch.Tensor", masked)], dim=1)
    return sample


def _sample_latents(
    components: PipelineComponents,
    distribution: Any,
    noise_draw: torch.Tensor | None,
    device: Device,
) -> torch.Tensor | None:
    """Return scaled latents sampled from the autoencoder's `distribution` (mean, deviation).

    `noise_draw` is the standard normal noise drawn earlier. Return None if `distribution` or
    `noise_draw` is None.
    """
    if distribution is None or noise_draw is None:
        return None
    mean, deviation = distribution
    latents = (mean + deviation * device.upload(noise_draw)).to(components.dtype)
    return cast("torch.Tensor", components.scaling_factor * latents)
