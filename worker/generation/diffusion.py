"""The engine that runs diffusers pipelines."""

from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Final

import torch

from common.catalogue import ModelEntry
from common.clock import monotonic
from common.domain.errors import UnsupportedRequestError
from common.domain.generation import Endpoint, GenerationRequest
from worker.generation.drawing import draw
from worker.generation.engine import UNWATCHED, Generated, Watch
from worker.generation.models.budget import model_budget
from worker.generation.models.loaded import LoadedModel
from worker.generation.models.loader import chosen_device, load_model
from worker.generation.models.shelf import MakeRoom, Shelf
from worker.generation.pixels import Pixels

_CORES: Final = torch.get_num_threads()


class DiffusersEngine:
    """Keeps loaded models and draws one image at a time.

    One at a time even within a request: in a batch the same seed gives slightly other pixels,
    and image `i` of seed `s` is promised to be image 0 of seed `s + i`.
    """

    def __init__(
        self,
        entries: Iterable[ModelEntry],
        directory: Path,
        device: str | None = None,
        model_memory_gb: float | None = None,
    ) -> None:
        """Serve `entries`; stand-ins are kept in `directory`; `device` None is CUDA, else CPU.

        Weights take up to `model_memory_gb`; None is a part of the device's memory.

        Raises:
            ConfigurationError: torch knows no such device.
        """
        self._entries = {entry.name: entry for entry in entries}
        self._directory = directory
        self._device = chosen_device(device)
        self._shelf = Shelf(self._load, model_budget(self._device, model_memory_gb))
        self._lock = Lock()

    @property
    def loaded(self) -> frozenset[str]:
        """The models in memory; see `Engine.loaded`."""
        return self._shelf.loaded

    def load(self) -> None:
        """Load the models that fit, in their order, so that the first request finds them ready.

        Raises:
            ConfigurationError: a model cannot be loaded.
        """
        self._shelf.fill(self._entries)

    def generate(
        self, request: GenerationRequest, pixels: Pixels, watch: Watch = UNWATCHED
    ) -> Generated:
        """Draw the images; see `Engine.generate`."""
        entry = self._entry_for(request)
        _check_pixels(request, pixels)
        with self._shelf.borrow(entry.name, watch.should_stop) as model, self._lock:
            torch.set_num_threads(_threads(entry))
            watch.started()
            started = monotonic()
            drawn = [
                draw(model, request, pixels, seed, watch.should_stop) for seed in request.seeds
            ]
            seconds = monotonic() - started
        return Generated(
            images=tuple(image for image, _ in drawn),
            nsfw=tuple(unsafe for _, unsafe in drawn),
            seconds=seconds,
            engine_seconds=seconds,
        )

    def _load(self, name: str, make_room: MakeRoom) -> LoadedModel:
        return load_model(self._entries[name], self._directory, self._device, make_room)

    def _entry_for(self, request: GenerationRequest) -> ModelEntry:
        entry = self._entries.get(request.model)
        if entry is None:
            raise UnsupportedRequestError(f"the model {request.model} is not served here")
        if request.endpoint not in entry.endpoints:
            raise UnsupportedRequestError(
                f"the model {request.model} cannot do {request.endpoint}, only "
                + ", ".join(entry.endpoints)
            )
        if request.safety_checker and not entry.safety_checker:
            raise UnsupportedRequestError(
                f"safety_checker: the model {request.model} has none, send no"
            )
        return entry


def _threads(entry: ModelEntry) -> int:
    """Give the CPU threads to draw with; set anew each time, since torch keeps it by thread.

    torch's threads wait for each other by spinning: where other processes want the same cores,
    twelve times slower was measured. So one core is left to them, and a stand-in, too small to
    gain anything, takes one alone.
    """
    return 1 if entry.has_random_weights else max(1, _CORES - 1)


def _check_pixels(request: GenerationRequest, pixels: Pixels) -> None:
    """Refuse pixels other than `read_pixels` gives for this request."""
    wanted = {
        Endpoint.TEXT2IMG: (False, False),
        Endpoint.IMG2IMG: (True, False),
        Endpoint.INPAINT: (True, True),
    }[request.endpoint]
    if (pixels.init is not None, pixels.mask is not None) != wanted:
        raise UnsupportedRequestError(
            f"{request.endpoint} was given the wrong pictures: inpaint takes an init and a mask "
            "image, img2img an init image, text2img none"
        )
