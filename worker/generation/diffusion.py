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
from worker.generation.models.loader import LoadedModel, chosen_device, load_model
from worker.generation.pixels import Pixels

_CORES: Final = torch.get_num_threads()


class DiffusersEngine:
    """Keeps loaded models and draws one image at a time.

    One at a time even within a request: in a batch the same seed gives slightly other pixels,
    and image `i` of seed `s` is promised to be image 0 of seed `s + i`.
    """

    def __init__(
        self, entries: Iterable[ModelEntry], directory: Path, device: str | None = None
    ) -> None:
        """Serve `entries`; stand-ins are kept in `directory`; `device` None is CUDA, else CPU.

        Raises:
            ConfigurationError: torch knows no such device.
        """
        self._entries = {entry.name: entry for entry in entries}
        self._directory = directory
        self._device = chosen_device(device)
        self._loaded: dict[str, LoadedModel] = {}
        self._lock = Lock()

    @property
    def loaded(self) -> frozenset[str]:
        """The models in memory; see `Engine.loaded`."""
        return frozenset(self._loaded)

    def load(self) -> None:
        """Load every model now, so that the first request finds them ready.

        Raises:
            ConfigurationError: a model cannot be loaded.
        """
        with self._lock:
            for entry in self._entries.values():
                self._model(entry)

    def generate(
        self, request: GenerationRequest, pixels: Pixels, watch: Watch = UNWATCHED
    ) -> Generated:
        """Draw the images; see `Engine.generate`."""
        entry = self._entry_for(request)
        _check_pixels(request, pixels)
        with self._lock:
            model = self._model(entry)
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

    def _model(self, entry: ModelEntry) -> LoadedModel:
        if entry.name not in self._loaded:
            self._loaded[entry.name] = load_model(entry, self._directory, self._device)
        return self._loaded[entry.name]

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
