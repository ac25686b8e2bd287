"""One step of many images: one call of the UNet, then each with its own scheduler."""

from collections.abc import Sequence
from typing import Any

import torch

from worker.engine.batching.active_request import Sample
from worker.engine.batching.components import PipelineComponents
from worker.engine.devices.device import Device
from worker.engine.prompts.conditioning import Conditioning


@torch.inference_mode()
def predict(samples: Sequence[Sample], device: Device) -> list[torch.Tensor]:
    """Give the guided noise of each sample, 1 × 4 × height × width; changes none of them.

    All have one model, one shape and one length of prompt. The rows of the batch are the
    unwanted halves of those that have guidance, then the wanted of all: for one sample alone that
    is the batch of diffusers' pipelines.
    """
    parts = samples[0].ticket.recipe.parts
    seen = [_seen(sample) for sample in samples]
    guided = [index for index, sample in enumerate(samples) if sample.guided.unwanted is not None]
    conditions = [
        *(condition for sample in samples if (condition := sample.guided.unwanted) is not None),
        *(sample.guided.wanted for sample in samples),
    ]
    order = [*guided, *range(len(samples))]
    noise = parts.unet(
        torch.cat([seen[index] for index in order]),
        device.upload(torch.tensor([float(samples[index].time) for index in order])),
        encoder_hidden_states=torch.stack([condition.hidden for condition in conditions]),
        added_cond_kwargs=_added(parts, conditions, [samples[index] for index in order], device),
        return_dict=False,
    )[0].split(1)
    unwanted = dict(zip(guided, noise, strict=False))
    wanted = noise[len(guided) :]
    return [
        _guided(unwanted.get(index), wanted[index], sample.ticket.recipe.request.guidance_scale)
        for index, sample in enumerate(samples)
    ]


@torch.inference_mode()
def step(sample: Sample, noise: torch.Tensor) -> None:
    """Take the step that `noise` was predicted for."""
    timeline = sample.start.timeline
    extra = {"generator": sample.start.generator} if timeline.takes_generator else {}
    latents: torch.Tensor = timeline.scheduler.step(
        noise, sample.time, sample.latents, return_dict=False, **extra
    )[0]
    sample.done += 1
    if sample.kept is not None and sample.noise is not None and sample.mask is not None:
        kept = sample.kept
        if not sample.is_finished:
            picture, noise_part = _noised(timeline.scheduler, sample.time, kept.dtype)
            kept = picture * kept + noise_part * sample.noise
        latents = (1 - sample.mask) * kept + sample.mask * latents
    sample.latents = latents


def _noised(scheduler: Any, time: torch.Tensor, dtype: torch.dtype) -> tuple[float, float]:
    """Give how much of a picture, and of noise, there is at a time of the diffusion.

    Found out on the host with ones and zeros: with tensors of a GPU, diffusers copies its tables
    there for each picture and step, and waits.
    """
    one, nothing = torch.ones((1, 1, 1, 1), dtype=dtype), torch.zeros((1, 1, 1, 1), dtype=dtype)
    moment = time.reshape(1)
    return (
        float(scheduler.add_noise(one, nothing, moment)),
        float(scheduler.add_noise(nothing, one, moment)),
    )


def _seen(sample: Sample) -> torch.Tensor:
    """Give what the UNet sees of the picture, 1 × its channels × height × width."""
    latents: torch.Tensor = sample.start.timeline.scheduler.scale_model_input(
        sample.latents, sample.time
    )
    return latents if sample.seen is None else torch.cat([latents, sample.seen], dim=1)


def _guided(
    unwanted: torch.Tensor | None, wanted: torch.Tensor, guidance_scale: float
) -> torch.Tensor:
    """Go on from the unwanted through the wanted: classifier-free guidance (arXiv:2207.12598)."""
    if unwanted is None:
        return wanted
    return unwanted + guidance_scale * (wanted - unwanted)


def _added(
    parts: PipelineComponents,
    conditions: Sequence[Conditioning],
    samples: Sequence[Sample],
    device: Device,
) -> dict[str, Any] | None:
    """Give what Stable Diffusion XL is told beside: pooled texts, and sizes in pixels.

    The sizes are original (height, width), the crop's corner, target (height, width): nothing is
    cropped, so original and target are the same (arXiv:2307.01952, section 2.2).
    """
    if not parts.has_size_condition:
        return None
    pooled = [condition.pooled for condition in conditions if condition.pooled is not None]
    sizes = [
        [request.height, request.width, 0, 0, request.height, request.width]
        for request in (sample.ticket.recipe.request for sample in samples)
    ]
    texts = torch.stack(pooled)
    return {
        "text_embeds": texts,
        "time_ids": device.upload(torch.tensor(sizes, dtype=texts.dtype)),
    }
