"""Small pictures of what is being made, on their way to whoever looks on."""

from typing import Final
from weakref import WeakKeyDictionary

from PIL import Image

from worker.generation.batching.device import Device, HostCopy
from worker.generation.batching.parts import Parts
from worker.generation.batching.preview import Preview
from worker.generation.batching.ticket import Ticket

# Steps from one preview of a request to its next.
EVERY: Final = 4


class Previews:
    """Begins to copy a preview after some steps, and has it a turn later: nobody waits for it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lines: WeakKeyDictionary[Parts, Preview] = WeakKeyDictionary()
        self._coming: dict[Ticket, HostCopy] = {}

    def note(self, ticket: Ticket) -> None:
        """Take note that the request has stepped."""
        sample = ticket.samples[0]
        if sample.done % EVERY or sample.is_finished:
            return
        parts = ticket.recipe.parts
        if parts not in self._lines:
            self._lines[parts] = Preview.of(parts, self._device.torch_device)
        levels = self._lines[parts].levels(sample.latents)
        self._coming[ticket] = self._device.to_host(levels)

    def arrived(self) -> list[tuple[Ticket, Image.Image]]:
        """Give those that have arrived, once."""
        there = [ticket for ticket, copy in self._coming.items() if copy.is_there()]
        return [
            (ticket, Image.fromarray(self._coming.pop(ticket).wait()[0].numpy(), "RGB"))
            for ticket in there
        ]

    def forget(self, ticket: Ticket) -> None:
        """Take note that the request has ended."""
        self._coming.pop(ticket, None)
