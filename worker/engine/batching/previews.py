"""Small pictures of what is being made, on their way to whoever looks on."""

from typing import Final
from weakref import WeakKeyDictionary

import structlog
import torch
from PIL import Image

from worker.engine.batching.active_request import ActiveRequest
from worker.engine.batching.components import PipelineComponents
from worker.engine.batching.latent_preview import LatentPreview
from worker.engine.devices.device import Device, HostCopy

# Steps from one preview of a request to its next.
EVERY: Final = 4

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
