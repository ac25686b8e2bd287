"""Models of other families, run whole by diffusers' own pipeline, equal requests together.

For the models our own loop cannot step: whatever diffusers' automatic choice knows. Equal requests
are gathered until the device is free for them.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from common.domain.errors import GenerationError, GenerationStoppedError, InfillError
from common.domain.generation import Endpoint, GenerationRequest
from common.runtime.clock import monotonic
from worker.engine.batching.batch_limit import BatchSizeLimiter
from worker.engine.batching.bisect import BisectingRunner
from worker.engine.batching.loop import DeviceLoop
from worker.engine.batching.timesteps import steps_and_strength
from worker.engine.devices.device import Device
from worker.engine.errors import to_infill_error, translated_errors
from worker.engine.interface import GenerationCallback, GenerationResult, Progress
from worker.engine.masks.canvas import Canvas
from worker.engine.models.loaded_model import LoadedModel

# Under these names pipelines take what is called after each step; the older one takes no tensors.
_AFTER_STEP: Final = "callback_on_step_end"
_AFTER_STEP_BEFORE: Final = "callback"


@dataclass(frozen=True, slots=True)
class PipelineSample:
    """One image of a request: its seed, and its pictures, each of the request's size."""

    request: GenerationRequest
    init: Image.Image | None
    mask: Image.Image | None
    seed: int


@dataclass(slots=True, eq=False)
class _Part:
    """One request's part in a run."""

    request: GenerationRequest
    canvas: Canvas
    watch: GenerationCallback
    future: Future[GenerationResult] = field(default_factory=Future)
    steps: int = 0

    @property
    def orders(self) -> list[PipelineSample]:
        """An order for each of its images."""
        init, mask = self.canvas.init, self.canvas.mask
        return [PipelineSample(self.request, init, mask, seed) for seed in self.request.seeds]

    def goes_on(self) -> bool:
        """Tell of a step, and ask whether to go on; if not, its caller is answered now."""
        if not self.wants_to():
            return False
        if self.steps:
            all_steps = max(self.steps, _steps_of(self.request))
            return self._tell(lambda: self.watch.progressed(Progress(self.steps, all_steps)))
        return True

    def begin(self) -> bool:
        """Tell that the run begins; False if that failed, and so it has ended."""
        return self._tell(self.watch.started)

    def wants_to(self) -> bool:
        """Ask whether to go on; if not, its caller is answered now."""
        return not self.future.done() and self._tell(self._ask)

    def _ask(self) -> None:
        if self.watch.should_stop():
            raise GenerationStoppedError("the generation was stopped")

    def _tell(self, what: Callable[[], None]) -> bool:
        try:
            what()
        except Exception as error:  # noqa: BLE001 - it must not take the others along
            self.future.set_exception(to_infill_error(error))
            return False
        return True


class PipelineBatcher:
    """Runs together what came while the device was busy, as one piece of work between two steps.

    One that is stopped is answered at the next step; the run goes on for the others.
    """

    def __init__(self, loop: DeviceLoop, device: Device, *, most: int, threads: int) -> None:
        """Run at most `most` requests together, with so many threads of the CPU."""
        self._loop = loop
        self._batches = BisectingRunner(device, BatchSizeLimiter(device, most=most))
        self._threads = threads
        self._waiting: dict[Hashable, list[_Part]] = {}
        self._lock = Lock()

    def draw(
        self,
        model: LoadedModel,
        request: GenerationRequest,
        canvas: Canvas,
        watch: GenerationCallback,
    ) -> GenerationResult:
        """Draw the images of a request, with equal ones if there are some, and wait.

        They come as the model drew them, unchecked, and nothing kept of the init image.

        Raises:
            UnsupportedRequestError: no scheduler of the wanted name fits the model.
            GenerationError: the model failed; another try may succeed.
            GenerationStoppedError: `watch` said to stop.
        """
        part, key = _Part(request, canvas, watch), batch_key(request)
        with self._lock:
            self._waiting.setdefault(key, []).append(part)
        # Each comes with an errand; the first that is run takes all that came until then.
        self._loop.post(partial(self._run, model, key))
        try:
            return part.future.result()
        finally:
            del part  # as in `DeviceLoop.draw`

    def _run(self, model: LoadedModel, key: Hashable) -> None:
        with self._lock:
            parts = self._waiting.pop(key, [])
        parts = [part for part in parts if part.wants_to() and part.begin()]
        torch.set_num_threads(self._threads)  # torch keeps it by thread
        try:
            outcomes = self._batches.run(key, parts, partial(self._together, model))
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever
            outcomes = [to_infill_error(error)] * len(parts)
        for part, outcome in zip(parts, outcomes, strict=True):
            if part.future.done():
                continue
            if isinstance(outcome, InfillError):
                part.future.set_exception(outcome)
            else:
                part.future.set_result(outcome)

    def _together(self, model: LoadedModel, parts: Sequence[_Part]) -> list[GenerationResult]:
        for part in parts:
            part.steps = 0
        began = monotonic()
        orders = [order for part in parts for order in part.orders]
        stop = partial(self._nobody_left, parts)
        images = iter(run_pipeline(model, parts[0].request.endpoint, orders, stop))
        return _shared(parts, images, monotonic() - began)

    def _nobody_left(self, parts: Sequence[_Part]) -> bool:
        """Ask all who look on at a step, those of other requests too: a run may take minutes."""
        self._loop.look_on()
        with self._lock:
            waiting = [part for group in self._waiting.values() for part in group]
        for part in waiting:
            part.wants_to()
        going_on = [part for part in parts if part.goes_on()]
        for part in parts:
            part.steps += 1
        return not going_on


def _shared(
    parts: Sequence[_Part], images: Iterator[Image.Image], seconds: float
) -> list[GenerationResult]:
    """Hand the images of a run, and its time, to those it was made for."""
    return [
        GenerationResult(
            images=tuple(next(images) for _ in part.request.seeds),
            nsfw=(False,) * part.request.samples,
            seconds=seconds,
            engine_seconds=seconds / len(parts),
        )
        for part in parts
    ]


def _steps_of(request: GenerationRequest) -> int:
    """Give the steps that are run; of a picture's schedule it is the last part."""
    if request.endpoint is Endpoint.TEXT2IMG:
        return request.inference_steps
    steps, strength = steps_and_strength(request.inference_steps, request.strength)
    return int(steps * strength)


def batch_key(request: GenerationRequest) -> Hashable:
    """Tell which requests may be run together: those whose keys are equal.

    Prompts, seeds and pictures are each image's own.
    """
    return (
        request.model,
        request.endpoint,
        request.width,
        request.height,
        request.inference_steps,
        request.guidance_scale,
        request.strength,
        request.scheduler,
    )


def run_pipeline(
    model: LoadedModel,
    endpoint: Endpoint,
    orders: Sequence[PipelineSample],
    should_stop: Callable[[], bool],
) -> list[Image.Image]:
    """Draw an image for each of `orders`, whose requests have equal keys; RGB, of their size.

    A pipeline is given what it takes of a request: there are families that know no negative
    prompt, or no strength, and such a field is then without effect. One that draws in coarser
    sizes than asked for has its image brought to the size. `should_stop` is asked before the
    first step and after each, where the pipeline tells of its steps.

    Raises:
        UnsupportedRequestError: no scheduler of the wanted name fits the model.
        GenerationError: the model failed; another try may succeed.
        GenerationStoppedError: `should_stop` said yes.
    """

    def stop_if_told(*_step: Any) -> dict[str, Any]:
        if should_stop():
            raise GenerationStoppedError("the generation was stopped")
        return {}

    request = orders[0].request
    pipeline = model.pipelines[endpoint]
    pipeline.scheduler = model.scheduler_for(request)
    known = signature(type(pipeline).__call__).parameters
    after_step = _AFTER_STEP if _AFTER_STEP in known else _AFTER_STEP_BEFORE
    offered = {**_arguments(endpoint, orders), after_step: stop_if_told}
    stop_if_told()
    with translated_errors():
        output = pipeline(**{name: value for name, value in offered.items() if name in known})
        images = [_to_image(levels) for levels in output.images]
    size = (request.width, request.height)
    return [
        image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
        for image in images
    ]


def _arguments(endpoint: Endpoint, orders: Sequence[PipelineSample]) -> dict[str, Any]:
    request = orders[0].request
    steps, strength = request.inference_steps, request.strength
    arguments: dict[str, Any] = {
        "prompt": [order.request.prompt for order in orders],
        "negative_prompt": [order.request.negative_prompt for order in orders],
        "guidance_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        # The same noise on every device.
        "generator": [torch.Generator("cpu").manual_seed(order.seed) for order in orders],
        # Of sizes to choose from, rather than the one asked for.
        "use_resolution_binning": False,
        "output_type": "np",
    }
    if endpoint is not Endpoint.TEXT2IMG:
        steps, strength = steps_and_strength(steps, strength)
        arguments |= {"image": [order.init for order in orders], "strength": strength}
    if endpoint is Endpoint.INPAINT:
        arguments["mask_image"] = [order.mask for order in orders]
    return {**arguments, "num_inference_steps": steps}


def _to_image(levels: npt.NDArray[np.floating[Any]]) -> Image.Image:
    """Turn levels in 0 … 1, height × width × 3, into an image."""
    if not np.isfinite(levels).all():
        raise GenerationError("the model drew pixels that are not numbers")
    return Image.fromarray((levels * 255).round().astype(np.uint8), "RGB")
