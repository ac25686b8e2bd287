"""What an image is becoming: its latents seen through a straight line instead of the decoder."""

from typing import Final

import torch

from worker.engine.batching.components import LATENT_CHANNELS, PipelineComponents

# The line is fitted to one picture of this many latents a side, which takes the decoder a moment.
_SIDE: Final = 32
# Latents of pictures are smooth: random ones are drawn coarse and blown up.
_COARSE: Final = 8
_SEED: Final = 5


class LatentPreview:
    """Turns latents into a small picture, a pixel for each: no more than twelve products a pixel.

    Fitted to the model's own autoencoder by least squares, so that it holds for any.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        """Keep `weights`, 5 × 3: from the latents' channels and a constant to red, green, blue."""
        self._weights = weights

    @classmethod
    @torch.inference_mode()
    def of(cls, parts: PipelineComponents, device: torch.device) -> "LatentPreview":
        """Fit it."""
        generator = torch.Generator("cpu").manual_seed(_SEED)
        coarse = torch.randn((1, LATENT_CHANNELS, _COARSE, _COARSE), generator=generator)
        latents = torch.nn.functional.interpolate(coarse, size=_SIDE, mode="bilinear")
        given = latents.to(device, parts.autoencodes)
        picture = parts.vae.decode(given / parts.scaling, return_dict=False)[0].float().cpu()
        small = torch.nn.functional.adaptive_avg_pool2d(picture, _SIDE)
        fit = torch.linalg.lstsq(_rows(latents), small.flatten(2)[0].T)
        return cls(fit.solution.to(device))

    @torch.inference_mode()
    def levels(self, latents: torch.Tensor) -> torch.Tensor:
        """Give height × width × 3 of uint8 for latents 1 × 4 × height × width."""
        height, width = latents.shape[2:]
        colours = _rows(latents.float()) @ self._weights
        levels = (colours * 0.5 + 0.5).nan_to_num().clamp(0, 1).mul(255).round().to(torch.uint8)
        return levels.reshape(height, width, 3)


def _rows(latents: torch.Tensor) -> torch.Tensor:
    """Give a row for each latent pixel: its channels, and a one for the constant."""
    rows = latents.flatten(2)[0].T
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
