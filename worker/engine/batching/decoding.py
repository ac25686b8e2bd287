"""Decode latents to pixels, in batches."""

from collections.abc import Sequence

import torch

from worker.engine.batching.active_request import Sample


@torch.inference_mode()
def decode(samples: Sequence[Sample]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Decode the latents of finished samples of one model and shape to pixels.

    Return for each sample its pixels (height × width × 3, uint8), and whether all of the decoder's
    values were finite (a zero-dimensional boolean tensor). All results stay on the device.
    """
    components = samples[0].active.prepared.components
    latents = torch.cat([sample.latents for sample in samples]).to(components.vae_dtype)
    images = components.vae.decode(latents / components.scaling_factor, return_dict=False)[0]
    finite = torch.isfinite(images).flatten(1).all(1)
    pixels = (images * 0.5 + 0.5).clamp(0, 1).float().mul(255).round().to(torch.uint8)
    return list(zip(pixels.permute(0, 2, 3, 1).unbind(), finite.unbind(), strict=True))
