"""From requests to latents on the device: prompts and pictures, those of many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from worker.engine.batching.active_request import ActiveRequest, Sample
from worker.engine.batching.components import PipelineComponents
from worker.engine.batching.prepared_request import PreparedRequest, SampleStart
from worker.engine.devices.device import Device
from worker.engine.prompts.conditioning import Guided


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What the autoencoder made of a request's pictures: means and deviations of their latents."""

    init: Any = None
    masked: Any = None


@torch.inference_mode()
def encode(tickets: Sequence[ActiveRequest], device: Device) -> list[list[Sample]]:
    """Give the samples of each request, ready to step.

    All have one model and one shape. Each prompt and each picture is encoded once, however many
    images are made of it.
    """
    parts = tickets[0].recipe.parts
    guided = parts.prompts.encode([ticket.recipe.prompt for ticket in tickets])
    encoded = _autoencoded(parts, [ticket.recipe for ticket in tickets], device)
    return [
        [_sample(ticket, start, guides, latents, device) for start in ticket.recipe.starts]
        for ticket, guides, latents in zip(tickets, guided, encoded, strict=True)
    ]


def _autoencoded(
    parts: PipelineComponents, recipes: Sequence[PreparedRequest], device: Device
) -> list[_Encoded]:
    wanted = [
        (index, name, picture)
        for index, recipe in enumerate(recipes)
        for name, picture, needed in (
            ("init", recipe.init, recipe.needs_init),
            ("masked", recipe.masked, parts.takes_mask),
        )
        if needed and picture is not None
    ]
    found: list[dict[str, Any]] = [{} for _ in recipes]
    if wanted:
        # Through the narrower type first, as the pipelines take them.
        pictures = torch.cat([picture for _, _, picture in wanted]).to(parts.generates)
        pictures = device.upload(pictures).to(parts.autoencodes)
        spread = parts.vae.encode(pictures).latent_dist
        for (index, name, _), mean, deviation in zip(
            wanted, spread.mean.split(1), spread.std.split(1), strict=True
        ):
            found[index][name] = (mean, deviation)
    return [_Encoded(**each) for each in found]


def _sample(
    ticket: ActiveRequest, start: SampleStart, guided: Guided, encoded: _Encoded, device: Device
) -> Sample:
    recipe, parts = ticket.recipe, ticket.recipe.parts
    noise = device.upload(start.draws.noise)
    kept = _drawn(parts, encoded.init, start.draws.init, device)
    masked = _drawn(parts, encoded.masked, start.draws.masked, device)
    scheduler = start.timeline.scheduler
    if recipe.starts_from_noise:
        latents = noise * scheduler.init_noise_sigma
    else:
        latents = scheduler.add_noise(kept, noise, torch.stack(start.timeline.times[:1]))
    sample = Sample(ticket, start, latents, guided)
    if recipe.mask is not None:
        mask = device.upload(recipe.mask.to(parts.generates))
        if recipe.is_blended:
            sample.kept, sample.noise, sample.mask = kept, noise, mask
        else:
            sample.seen = torch.cat([mask, cast("torch.Tensor", masked)], dim=1)
    return sample


def _drawn(
    parts: PipelineComponents, spread: Any, draw: torch.Tensor | None, device: Device
) -> torch.Tensor | None:
    """Draw latents from what the autoencoder gave, with numbers that were drawn before."""
    if spread is None or draw is None:
        return None
    mean, deviation = spread
    latents = (mean + deviation * device.upload(draw)).to(parts.generates)
    return cast("torch.Tensor", parts.scaling * latents)
