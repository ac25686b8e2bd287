"""The engine that runs diffusion models, with the images of many requests in one batch."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

import torch
from PIL import Image

from common.domain.errors import UnsupportedRequestError
from common.domain.generation import Endpoint, GenerationRequest
from common.settings.catalogue import ModelEntry
from worker.engine.batching.components import PipelineComponents
from worker.engine.batching.loop import DeviceLoop
from worker.engine.batching.pipeline_batch import PipelineBatcher
from worker.engine.batching.prepared_request import prepare
from worker.engine.devices.cuda import Cuda
from worker.engine.devices.device import Cpu, Device
from worker.engine.errors import translated_errors
from worker.engine.images.inputs import InputImages
from worker.engine.interface import NO_CALLBACK, GenerationCallback, GenerationResult
from worker.engine.masks.canvas import Canvas
from worker.engine.models.families import Family
from worker.engine.models.loaded_model import LoadedModel
from worker.engine.models.loader import choose_device, load_model
from worker.engine.models.memory_budget import model_budget
from worker.engine.models.model_cache import ModelCache, ReserveMemory

# Default for the largest number of images that take a step together.
MAX_BATCH: Final = 16

_CORES: Final = torch.get_num_threads()


class DiffusersEngine:
    """`Engine` for diffusers models: callers' threads prepare requests, one thread runs models."""

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
        """Create an engine for the models in `entries`; nothing is loaded yet.

        Stand-in models are stored in `directory`. `device` is a torch device name; None means CUDA
        if available, else the CPU. Cached weights take up to `model_memory_gb` gigabytes; None
        means a share of the device's memory. At most `max_batch` images share a denoising step.
        `threads` is the number of CPU threads to compute with; None leaves one core free.

        Raises:
            ConfigurationError: torch does not know the device.
        """
        self._entries = {entry.name: entry for entry in entries}
        self._directory = directory
        self._device = choose_device(device)
        self._cpu_threads = threads
        compute_device = _device(self._device)
        self._loop = DeviceLoop(compute_device, max_batch=max_batch)
        self._pipeline_batcher = PipelineBatcher(
            self._loop, compute_device, max_batch=max_batch, threads=threads or _spare_cores()
        )
        self._models = ModelCache(self._load, model_budget(self._device, model_memory_gb))
        self._components: WeakKeyDictionary[LoadedModel, PipelineComponents] = WeakKeyDictionary()
        self._components_lock = Lock()

    @property
    def loaded(self) -> frozenset[str]:
        """Return the names of the models in memory; see `Engine.loaded`."""
        return self._models.loaded

    def load(self) -> None:
        """Load the models that fit into memory, in catalogue order, before the first request.

        Raises:
            ConfigurationError: a model cannot be loaded.
        """
        self._models.preload(self._entries)

    def close(self) -> None:
        """Fail the active requests and end the device thread."""
        self._loop.close()

    def generate(
        self,
        request: GenerationRequest,
        inputs: InputImages,
        callback: GenerationCallback = NO_CALLBACK,
    ) -> GenerationResult:
        """Generate the images of `request` and return them; see `Engine.generate`."""
        entry = self._entry_for(request)
        _check_inputs(request, inputs)
        with self._models.borrow(entry.name, callback.should_stop) as model, translated_errors():
            return self._generate(model, request, inputs, callback)

    def _generate(
        self,
        model: LoadedModel,
        request: GenerationRequest,
        inputs: InputImages,
        callback: GenerationCallback,
    ) -> GenerationResult:
        canvas = Canvas.of(request, inputs)
        if model.family is Family.OTHER:
            result = self._pipeline_batcher.generate(model, request, canvas, callback)
        else:
            new_scheduler = partial(model.scheduler_for, request)
            prepared = prepare(self._components_of(model), request, canvas, new_scheduler)
            result = self._loop.generate(prepared, callback)
        composed = tuple(canvas.finish(image) for image in result.images)
        result = replace(result, images=composed)
        return self._without_unsafe(model, result) if request.safety_checker else result

    def _without_unsafe(self, model: LoadedModel, result: GenerationResult) -> GenerationResult:
        """Run the safety checker on `result`; return it with unsafe images flagged and made black.

        Return `result` unchanged if the model has no safety checker.
        """
        if model.safety is None:
            return result
        features = model.safety.preprocess(result.images)
        nsfw = self._loop.run(partial(model.safety.flags, features))
        images = tuple(
            Image.new("RGB", image.size) if unsafe else image
            for image, unsafe in zip(result.images, nsfw, strict=True)
        )
        return replace(result, images=images, nsfw=tuple(nsfw))

    def _load(self, name: str, reserve_memory: ReserveMemory) -> LoadedModel:
        return load_model(self._entries[name], self._directory, self._device, reserve_memory)

    def _components_of(self, model: LoadedModel) -> PipelineComponents:
        with self._components_lock:
            if model not in self._components:
                pipeline = next(iter(model.pipelines.values()))
                self._components[model] = PipelineComponents(
                    pipeline, threads=self._cpu_threads or _cpu_threads(model.entry)
                )
            return self._components[model]

    def _entry_for(self, request: GenerationRequest) -> ModelEntry:
        entry = self._entries.get(request.model)
        if entry is None:
            raise UnsupportedRequestError(f"this service does not serve the model {request.model}")
        if request.endpoint not in entry.endpoints:
            raise UnsupportedRequestError(
                f"the model {request.model} does not support {request.endpoint}; it supports: "
                + ", ".join(entry.endpoints)
            )
        if request.safety_checker and not entry.safety_checker:
            raise UnsupportedRequestError(
                f'safety_checker: the model {request.model} has no safety checker; send "no"'
            )
        return entry


def _device(torch_device: torch.device) -> Device:
    """Return the `Device` for a torch device; every device except CUDA is treated as the CPU."""
    return Cuda(torch_device) if torch_device.type == "cuda" else Cpu(torch_device)


def _cpu_threads(entry: ModelEntry) -> int:
    """Return the number of CPU threads to compute with for the model of `entry`.

    One core is left free: torch's threads spin while they wait for each other, and with other
    processes on the same cores a slowdown by a factor of 12 was measured. A stand-in model is too
    small to gain from more than one thread.
    """
    return 1 if entry.has_random_weights else _spare_cores()


def _spare_cores() -> int:
    return max(1, _CORES - 1)


def _check_inputs(request: GenerationRequest, inputs: InputImages) -> None:
    """Raise UnsupportedRequestError unless `inputs` are exactly the images the endpoint takes."""
    expected = {
        Endpoint.TEXT2IMG: (False, False),
        Endpoint.IMG2IMG: (True, False),
        Endpoint.INPAINT: (True, True),
    }[request.endpoint]
    if (inputs.init is not None, inputs.mask is not None) != expected:
        raise UnsupportedRequestError(
            f"{request.endpoint} was given the wrong images: inpaint takes an init and a mask "
            "image, img2img an init image, text2img none"
        )
