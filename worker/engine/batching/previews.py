"""Small images of what is being made, on their way to whoever looks on."""

from typing import Final
from weakref import WeakKeyDictionary

import structlog
import torch
from PIL import Image

from worker.engine.batching.active_request import ActiveRequest
from worker.engine.batching.components import LATENT_CHANNELS, PipelineComponents
from worker.engine.devices.device import Device, HostCopy

# Steps from one preview of a request to its next.
EVERY: Final = 4
# The line is fitted to one picture of this many latents a side, which takes the decoder a moment.
_SIDE: Final = 32
# Latents of pictures are smooth: random ones are drawn coarse and blown up.
_COARSE: Final = 8
_SEED: Final = 5

log = structlog.get_logger(__name__)


class PreviewQueue:
    """Begins to copy a preview after some steps, and has it a turn later: nobody waits for it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lines: WeakKeyDictionary[PipelineComponents, LatentPreview] = WeakKeyDictionary()
        self._coming: dict[ActiveRequest, HostCopy] = {}

    def note(self, ticket: ActiveRequest) -> None:
        """Take note that the request has stepped."""
        sample = ticket.samples[0]
        if sample.done % EVERY or sample.is_finished:
            return
        try:
            self._coming[ticket] = self._begin(ticket.recipe.parts, sample.latents)
        except Exception as error:  # noqa: BLE001 - nobody may fail for want of a preview
            self._device.release()
            log.warning("preview_failed", error=repr(error))

    def _begin(self, parts: PipelineComponents, latents: torch.Tensor) -> HostCopy:
        if parts not in self._lines:
            self._lines[parts] = LatentPreview.of(parts, self._device.torch_device)
        return self._device.to_host(self._lines[parts].levels(latents))

    def arrived(self) -> list[tuple[ActiveRequest, Image.Image]]:
        """Give those that have arrived, once."""
        there = [ticket for ticket, copy in self._coming.items() if copy.is_there()]
        return [
            (ticket, Image.fromarray(self._coming.pop(ticket).wait()[0].numpy(), "RGB"))
            for ticket in there
        ]

    def forget(self, ticket: ActiveRequest) -> None:
        """Take note that the request has ended."""
        self._coming.pop(ticket, None)


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
