"""Small previews of images in progress, by a linear map of the latents instead of the decoder."""

from typing import Final
from weakref import WeakKeyDictionary

import structlog
import torch
from PIL import Image

from worker.engine.batching.active_request import ActiveRequest
from worker.engine.batching.components import LATENT_CHANNELS, PipelineComponents
from worker.engine.devices.device import Device, HostCopy

# Steps between two previews of a request.
PREVIEW_STEPS: Final = 4
# Latents along the side of the sample the map is fitted to; decoding it takes little time.
_SIDE: Final = 32
# Latents of images are smooth, so random ones are drawn at this size and enlarged.
_COARSE: Final = 8
_SEED: Final = 5

log = structlog.get_logger(__name__)


class PreviewQueue:
    """Previews being copied to the host in the background, to be collected by a later step."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._previews_of: WeakKeyDictionary[PipelineComponents, LatentPreview] = (
            WeakKeyDictionary()
        )
        self._copies: dict[ActiveRequest, HostCopy] = {}

    def add(self, active: ActiveRequest) -> None:
        """Start a preview of the request's first image, at every `PREVIEW_STEPS`-th step only."""
        sample = active.samples[0]
        if sample.steps_done % PREVIEW_STEPS or sample.is_finished:
            return
        try:
            self._copies[active] = self._start_copy(active.prepared.components, sample.latents)
        except Exception as error:  # noqa: BLE001 - a preview must not fail a request
            self._device.empty_cache()
            log.warning("preview_failed", error=repr(error))

    def _start_copy(self, components: PipelineComponents, latents: torch.Tensor) -> HostCopy:
        if components not in self._previews_of:
            self._previews_of[components] = LatentPreview.of(components, self._device.torch_device)
        return self._device.to_host(self._previews_of[components].pixels(latents))

    def take_ready(self) -> list[tuple[ActiveRequest, Image.Image]]:
        """Remove and return the previews that have arrived on the host, each with its request."""
        ready = [active for active, copy in self._copies.items() if copy.is_ready()]
        return [
            (active, Image.fromarray(self._copies.pop(active).wait()[0].numpy(), "RGB"))
            for active in ready
        ]

    def discard(self, active: ActiveRequest) -> None:
        """Drop the preview of `active`, a request that has ended, if there is one."""
        self._copies.pop(active, None)


class LatentPreview:
    """A linear map from latents to RGB: each latent pixel becomes one preview pixel.

    It is fitted to the model's own autoencoder by least squares, so it works for any model. It
    takes about twelve multiplications per pixel.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        """Create the map with the matrix `weights`, 5 × 3.

        Its rows are the four latent channels and a constant; its columns are red, green and blue.
        """
        self._weights = weights

    @classmethod
    @torch.inference_mode()
    def of(cls, components: PipelineComponents, device: torch.device) -> "LatentPreview":
        """Fit the map to the autoencoder in `components` and return it.

        One random sample is decoded on `device` for the fit.
        """
        generator = torch.Generator("cpu").manual_seed(_SEED)
        coarse = torch.randn((1, LATENT_CHANNELS, _COARSE, _COARSE), generator=generator)
        latents = torch.nn.functional.interpolate(coarse, size=_SIDE, mode="bilinear")
        given = latents.to(device, components.vae_dtype)
        image = (
            components.vae.decode(given / components.scaling_factor, return_dict=False)[0]
            .float()
            .cpu()
        )
        small = torch.nn.functional.adaptive_avg_pool2d(image, _SIDE)
        fit = torch.linalg.lstsq(_rows(latents), small.flatten(2)[0].T)
        return cls(fit.solution.to(device))

    @torch.inference_mode()
    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the preview (height × width × 3, uint8) of latents (1 × 4 × height × width)."""
        height, width = latents.shape[2:]
        colours = _rows(latents.float()) @ self._weights
        pixels = (colours * 0.5 + 0.5).nan_to_num().clamp(0, 1).mul(255).round().to(torch.uint8)
        return pixels.reshape(height, width, 3)


def _rows(latents: torch.Tensor) -> torch.Tensor:
    """Return a row for each latent pixel: its four channels, and a 1 for the constant.

    `latents` is 1 × 4 × height × width; the result is (height · width) × 5.
    """
    rows = latents.flatten(2)[0].T
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
