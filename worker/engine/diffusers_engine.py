"""The engine that runs diffusion models, many requests at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

import torch
from PIL import Image

from common.domain.errors import GenerationError, UnsupportedRequestError
from common.domain.generation import Endpoint, GenerationRequest
from common.runtime.clock import monotonic
from common.settings.catalogue import ModelEntry
from worker.engine.batching.components import PipelineComponents
from worker.engine.batching.loop import DeviceLoop
from worker.engine.batching.pipeline_batch import PipelineBatcher
from worker.engine.batching.prepared_request import prepare
from worker.engine.devices.cuda import Cuda
from worker.engine.devices.device import Cpu, Device, HostCopy
from worker.engine.errors import translated_errors
from worker.engine.images.inputs import InputImages
from worker.engine.interface import UNWATCHED, GenerationCallback, GenerationResult
from worker.engine.masks.canvas import Canvas
from worker.engine.models.families import Family
from worker.engine.models.loaded_model import LoadedModel
from worker.engine.models.loader import choose_device, load_model
from worker.engine.models.memory_budget import model_budget
from worker.engine.models.model_cache import MakeRoom, ModelCache

# At most so many images take a step together, unless told otherwise.
MAX_BATCH: Final = 16

_CORES: Final = torch.get_num_threads()


class DiffusersEngine:
    """Checks and prepares requests in their callers' threads, and lets one loop draw them all."""

    def __init__(
        self,
        entries: Iterable[ModelEntry],
        directory: Path,
        device: str | None = None,
        model_memory_gb: float | None = None,
        *,
        max_batch: int = MAX_BATCH,
        threads: int | None = None,
    ) -> None:
        """Serve `entries`; stand-ins are kept in `directory`; `device` None is CUDA, else CPU.

        Weights take up to `model_memory_gb`; None is a part of the device's memory. At most
        `max_batch` images take a step together. `threads` are those of the CPU to compute with;
        None leaves one core to others.

        Raises:
            ConfigurationError: torch knows no such device.
        """
        self._entries = {entry.name: entry for entry in entries}
        self._directory = directory
        self._device = choose_device(device)
        self._threads = threads
        place = _device(self._device)
        self._loop = DeviceLoop(place, most=max_batch)
        self._gathering = PipelineBatcher(
            self._loop, place, most=max_batch, threads=threads or _spare_cores()
        )
        self._shelf = ModelCache(self._load, model_budget(self._device, model_memory_gb))
        self._parts: WeakKeyDictionary[LoadedModel, PipelineComponents] = WeakKeyDictionary()
        self._taking_apart = Lock()

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

    def close(self) -> None:
        """Give up what is under way, and end the loop's thread."""
        self._loop.close()

    def generate(
        self, request: GenerationRequest, pixels: InputImages, watch: GenerationCallback = UNWATCHED
    ) -> GenerationResult:
        """Draw the images; see `Engine.generate`."""
        entry = self._entry_for(request)
        _check_pixels(request, pixels)
        with self._shelf.borrow(entry.name, watch.should_stop) as model, translated_errors():
            return self._draw(model, request, pixels, watch)

    def _draw(
        self,
        model: LoadedModel,
        request: GenerationRequest,
        pixels: InputImages,
        watch: GenerationCallback,
    ) -> GenerationResult:
        canvas = Canvas.of(request, pixels)
        drawn = (
            self._gathering.draw(model, request, canvas, watch)
            if model.family is Family.OTHER
            else self._stepped(model, request, canvas, watch)
        )
        images = [canvas.finish(image) for image in drawn.images]
        nsfw = self._unsafe(model, images) if request.safety_checker else [False] * len(images)
        shown = tuple(
            Image.new("RGB", image.size) if unsafe else image
            for image, unsafe in zip(images, nsfw, strict=True)
        )
        return replace(drawn, images=shown, nsfw=tuple(nsfw))

    def _stepped(
        self,
        model: LoadedModel,
        request: GenerationRequest,
        canvas: Canvas,
        watch: GenerationCallback,
    ) -> GenerationResult:
        new_scheduler = partial(model.scheduler_for, request)
        made = self._loop.draw(
            prepare(self._parts_of(model), request, canvas, new_scheduler), watch
        )
        images = tuple(_to_image(copy) for copy in made.copies)
        seconds = monotonic() - made.began
        return GenerationResult(images, (False,) * len(images), seconds, made.engine_seconds)

    def _unsafe(self, model: LoadedModel, images: Sequence[Image.Image]) -> list[bool]:
        if model.safety is None:
            return [False] * len(images)
        features = model.safety.features(images)
        return self._loop.do(partial(model.safety.flags, features))

    def _load(self, name: str, make_room: MakeRoom) -> LoadedModel:
        return load_model(self._entries[name], self._directory, self._device, make_room)

    def _parts_of(self, model: LoadedModel) -> PipelineComponents:
        with self._taking_apart:
            if model not in self._parts:
                pipeline = next(iter(model.pipelines.values()))
                self._parts[model] = PipelineComponents(
                    pipeline, threads=self._threads or _threads(model.entry)
                )
            return self._parts[model]

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


def _device(torch_device: torch.device) -> Device:
    """Give what stands for a torch device; all but CUDA are treated like the host."""
    return Cuda(torch_device) if torch_device.type == "cuda" else Cpu(torch_device)


def _threads(entry: ModelEntry) -> int:
    """Give the CPU threads to draw with.

    torch's threads wait for each other by spinning: where other processes want the same cores,
    twelve times slower was measured. So one core is left to them, and a stand-in, too small to
    gain anything, takes one alone.
    """
    return 1 if entry.has_random_weights else _spare_cores()


def _spare_cores() -> int:
    return max(1, _CORES - 1)


def _to_image(copy: HostCopy) -> Image.Image:
    levels, finite = copy.wait()
    if not finite:
        raise GenerationError("the model drew pixels that are not numbers")
    return Image.fromarray(levels.numpy(), "RGB")


def _check_pixels(request: GenerationRequest, pixels: InputImages) -> None:
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
