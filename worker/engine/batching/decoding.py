"""From latents to levels of pixels, for many images at a time."""

from collections.abc import Sequence

import torch

from worker.engine.batching.active_request import Sample


@torch.inference_mode()
def decode(samples: Sequence[Sample]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Give the levels of each image, height × width × 3 of uint8, and whether all were numbers.

    All have one model and one shape; both stay on the device.
    """
    parts = samples[0].ticket.recipe.parts
    latents = torch.cat([sample.latents for sample in samples]).to(parts.autoencodes)
    pictures = parts.vae.decode(latents / parts.scaling, return_dict=False)[0]
    finite = torch.isfinite(pictures).flatten(1).all(1)
    levels = (pictures * 0.5 + 0.5).clamp(0, 1).float().mul(255).round().to(torch.uint8)
    return list(zip(levels.permute(0, 2, 3, 1).unbind(), finite.unbind(), strict=True))
