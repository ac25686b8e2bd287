"""One denoising step of a batch: one UNet call, then each sample's own scheduler step."""

from collections.abc import Sequence
from typing import Any

import torch

from worker.engine.batching.active_request import Sample
from worker.engine.batching.components import PipelineComponents
from worker.engine.devices.device import Device
from worker.engine.prompts.conditioning import Conditioning


@torch.inference_mode()
def predict_noise(samples: Sequence[Sample], device: Device) -> list[torch.Tensor]:
    """Return the noise prediction with guidance for each sample, 1 × 4 × height × width.

    All samples must have the same model, latent shape and prompt length; they are not changed. In
    the UNet's batch, the negative-prompt rows of the samples with guidance come first, then the
    positive-prompt rows of all samples: for a single sample this is the order of diffusers'
    pipelines.
    """
    components = samples[0].active.prepared.components
    model_inputs = [_model_input(sample) for sample in samples]
    guided = [index for index, sample in enumerate(samples) if sample.prompt.negative is not None]
    conditions = [
        *(condition for sample in samples if (condition := sample.prompt.negative) is not None),
        *(sample.prompt.positive for sample in samples),
    ]
    order = [*guided, *range(len(samples))]
    noise = components.unet(
        torch.cat([model_inputs[index] for index in order]),
        device.upload(torch.tensor([float(samples[index].timestep) for index in order])),
        encoder_hidden_states=torch.stack([condition.hidden for condition in conditions]),
        added_cond_kwargs=_added_conditions(
            components, conditions, [samples[index] for index in order], device
        ),
        return_dict=False,
    )[0].split(1)
    negative = dict(zip(guided, noise, strict=False))
    positive = noise[len(guided) :]
    return [
        _apply_guidance(
            negative.get(index), positive[index], sample.active.prepared.request.guidance_scale
        )
        for index, sample in enumerate(samples)
    ]


@torch.inference_mode()
def step(sample: Sample, noise: torch.Tensor) -> None:
    """Advance `sample` by one scheduler step with its predicted `noise`, 1 × 4 × height × width.

    If the UNet does not take the mask as input, the init image's latents, at the noise level of the
    next timestep, replace the latents outside the mask, as in diffusers'
    pipeline_stable_diffusion_inpaint.py.
    """
    timesteps = sample.start.timesteps
    extra = {"generator": sample.start.generator} if timesteps.takes_generator else {}
    latents: torch.Tensor = timesteps.scheduler.step(
        noise, sample.timestep, sample.latents, return_dict=False, **extra
    )[0]
    sample.steps_done += 1
    if sample.init_latents is not None and sample.noise is not None and sample.mask is not None:
        init_latents = sample.init_latents
        if not sample.is_finished:
            image_factor, noise_factor = _noise_factors(
                timesteps.scheduler, sample.timestep, init_latents.dtype
            )
            init_latents = image_factor * init_latents + noise_factor * sample.noise
        latents = (1 - sample.mask) * init_latents + sample.mask * latents
    sample.latents = latents


def _noise_factors(
    scheduler: Any, timestep: torch.Tensor, dtype: torch.dtype
) -> tuple[float, float]:
    """Return (image factor, noise factor) of noised latents at `timestep`.

    Noised latents are image factor × latents + noise factor × noise. The factors are computed on
    the host by noising a one and a zero: with tensors on a GPU, the scheduler's `add_noise` would
    copy its tables to the GPU for each image and step, and wait for the copy.
    """
    one, nothing = torch.ones((1, 1, 1, 1), dtype=dtype), torch.zeros((1, 1, 1, 1), dtype=dtype)
    noise_timestep = timestep.reshape(1)
    return (
        float(scheduler.add_noise(one, nothing, noise_timestep)),
        float(scheduler.add_noise(nothing, one, noise_timestep)),
    )


def _model_input(sample: Sample) -> torch.Tensor:
    """Return the UNet's input for one sample, 1 × input channels × height × width (latent size)."""
    latents: torch.Tensor = sample.start.timesteps.scheduler.scale_model_input(
        sample.latents, sample.timestep
    )
    return (
        latents
        if sample.extra_channels is None
        else torch.cat([latents, sample.extra_channels], dim=1)
    )


def _apply_guidance(
    negative: torch.Tensor | None, positive: torch.Tensor, guidance_scale: float
) -> torch.Tensor:
    """Return the noise prediction with classifier-free guidance (arXiv:2207.12598).

    `negative` is the prediction for the negative prompt; None means no guidance.
    """
    if negative is None:
        return positive
    return negative + guidance_scale * (positive - negative)


def _added_conditions(
    components: PipelineComponents,
    conditions: Sequence[Conditioning],
    samples: Sequence[Sample],
    device: Device,
) -> dict[str, Any] | None:
    """Return Stable Diffusion XL's extra conditions: pooled prompts, and sizes in pixels.

    The sizes are original (height, width), crop corner (top, left) and target (height, width).
    Nothing is cropped, so original and target are equal (arXiv:2307.01952, section 2.2). Return
    None for other models.
    """
    if not components.has_size_condition:
        return None
    pooled = [condition.pooled for condition in conditions if condition.pooled is not None]
    sizes = [
        [request.height, request.width, 0, 0, request.height, request.width]
        for request in (sample.active.prepared.request for sample in samples)
    ]
    texts = torch.stack(pooled)
    return {
        "text_embeds": texts,
        "time_ids": device.upload(torch.tensor(sizes, dtype=texts.dtype)),
    }
