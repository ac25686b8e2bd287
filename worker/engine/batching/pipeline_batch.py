"""Whole pipeline calls for models that cannot be run step by step; similar requests share a call.

The step-by-step engine supports Stable Diffusion only. Every other model that diffusers' automatic
pipelines support runs here, one whole pipeline call at a time, on the device thread.
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
from worker.engine.errors import NOT_A_NUMBER, to_infill_error, translated_errors
from worker.engine.interface import GenerationCallback, GenerationResult, Progress
from worker.engine.masks.canvas import Canvas
from worker.engine.models.loaded_model import LoadedModel

# Parameters for a function that pipelines call after each step; the older one gets no tensors.
_STEP_CALLBACK: Final = "callback_on_step_end"
_LEGACY_STEP_CALLBACK: Final = "callback"


@dataclass(frozen=True, slots=True)
class PipelineSample:
    """One image to generate: its request, its seed, and input images of the request's size."""

    request: GenerationRequest
    init: Image.Image | None
    mask: Image.Image | None
    seed: int


@dataclass(slots=True, eq=False)
class _PipelineRequest:
    """A request that waits for a pipeline call or takes part in one.

    `steps` counts the finished steps of the current call.
    """

    request: GenerationRequest
    canvas: Canvas
    callback: GenerationCallback
    future: Future[GenerationResult] = field(default_factory=Future)
    steps: int = 0

    @property
    def samples(self) -> list[PipelineSample]:
        """Return a `PipelineSample` for each image of the request."""
        init, mask = self.canvas.init, self.canvas.mask
        return [PipelineSample(self.request, init, mask, seed) for seed in self.request.seeds]

    def report_step(self) -> bool:
        """Report the finished steps to the callback; return False if the request has ended.

        The request fails here if its callback raises or says to stop.
        """
        if not self.should_continue():
            return False
        if self.steps:
            all_steps = max(self.steps, _step_count(self.request))
            return self._call(lambda: self.callback.on_step(Progress(self.steps, all_steps)))
        return True

    def mark_started(self) -> bool:
        """Call `on_start`; if the callback raises, fail the request and return False."""
        return self._call(self.callback.on_start)

    def should_continue(self) -> bool:
        """Return whether the request is still running; fail it if its callback says to stop."""
        return not self.future.done() and self._call(self._check_should_stop)

    def _check_should_stop(self) -> None:
        if self.callback.should_stop():
            raise GenerationStoppedError("the generation was stopped")

    def _call(self, what: Callable[[], None]) -> bool:
        try:
            what()
        except Exception as error:  # noqa: BLE001 - it must not take the others along
            self.future.set_exception(to_infill_error(error))
            return False
        return True


class PipelineBatcher:
    """Collects requests of equal `batch_key` while the device is busy, and runs them in one call.

    A request that is stopped fails at the next step; the call continues for the others.
    """

    def __init__(self, loop: DeviceLoop, device: Device, *, max_batch: int, threads: int) -> None:
        """Create a batcher for calls of at most `max_batch` requests on `threads` CPU threads."""
        self._loop = loop
        self._runner = BisectingRunner(device, BatchSizeLimiter(device, max_batch=max_batch))
        self._threads = threads
        self._waiting: dict[Hashable, list[_PipelineRequest]] = {}
        self._lock = Lock()

    def generate(
        self,
        model: LoadedModel,
        request: GenerationRequest,
        canvas: Canvas,
        callback: GenerationCallback,
    ) -> GenerationResult:
        """Generate the images of a request, batched with waiting requests of equal `batch_key`.

        The images are the model's output: not safety-checked, and not composed with the init image.

        Raises:
            UnsupportedRequestError: the requested scheduler does not fit the model.
            GenerationError: the model failed; a retry may succeed.
            EngineLostError: the device failed; every later call will fail too.
            GenerationStoppedError: `callback.should_stop` returned true.
        """
        member, key = _PipelineRequest(request, canvas, callback), batch_key(request)
        with self._lock:
            self._waiting.setdefault(key, []).append(member)
        # Every request posts a task; the first one that runs takes all requests waiting by then.
        self._loop.post(partial(self._run, model, key))
        try:
            return member.future.result()
        finally:
            del member  # as in `DeviceLoop.generate`

    def _run(self, model: LoadedModel, key: Hashable) -> None:
        with self._lock:
            members = self._waiting.pop(key, [])
        members = [
            member for member in members if member.should_continue() and member.mark_started()
        ]
        torch.set_num_threads(self._threads)  # a setting of the thread in torch
        try:
            outcomes = self._runner.run(key, members, partial(self._run_together, model))
        except Exception as error:  # noqa: BLE001 - no caller may wait forever
            outcomes = [to_infill_error(error)] * len(members)
        for member, outcome in zip(members, outcomes, strict=True):
            if member.future.done():
                continue
            if isinstance(outcome, InfillError):
                member.future.set_exception(outcome)
            else:
                member.future.set_result(outcome)

    def _run_together(
        self, model: LoadedModel, members: Sequence[_PipelineRequest]
    ) -> list[GenerationResult]:
        for member in members:
            member.steps = 0
        started_at = monotonic()
        samples = [sample for member in members for sample in member.samples]
        stop = partial(self._should_stop, members)
        images = iter(run_pipeline(model, members[0].request.endpoint, samples, stop))
        return _split(members, images, monotonic() - started_at)

    def _should_stop(self, members: Sequence[_PipelineRequest]) -> bool:
        """Report a step of the running call, and return whether all of its requests have ended.

        The callbacks of waiting requests are checked as well, because a call can take minutes.
        """
        self._loop.check_callbacks()
        with self._lock:
            waiting = [member for group in self._waiting.values() for member in group]
        for member in waiting:
            member.should_continue()
        continuing = [member for member in members if member.report_step()]
        for member in members:
            member.steps += 1
        return not continuing


def _split(
    members: Sequence[_PipelineRequest], images: Iterator[Image.Image], seconds: float
) -> list[GenerationResult]:
    """Return the result of each request in `members`, from the images and seconds of one call.

    The device time is divided equally; the elapsed time is the same for all.
    """
    return [
        GenerationResult(
            images=tuple(next(images) for _ in member.request.seeds),
            nsfw=(False,) * member.request.samples,
            seconds=seconds,
            engine_seconds=seconds / len(members),
        )
        for member in members
    ]


def _step_count(request: GenerationRequest) -> int:
    """Return the number of steps that the pipeline runs for `request`.

    With an init image, the pipeline runs only the last part of the schedule, in proportion to the
    strength.
    """
    if request.endpoint is Endpoint.TEXT2IMG:
        return request.inference_steps
    steps, strength = steps_and_strength(request.inference_steps, request.strength)
    return int(steps * strength)


def batch_key(request: GenerationRequest) -> Hashable:
    """Return a key that is equal for requests that can share a pipeline call.

    Prompts, seeds, numbers of samples and input images may differ within a call.
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
    samples: Sequence[PipelineSample],
    should_stop: Callable[[], bool],
) -> list[Image.Image]:
    """Run one pipeline call for `samples` of equal `batch_key`, and return their images in order.

    The images are RGB and of the request's size; they are resized if the pipeline rounds sizes.
    Arguments that the pipeline does not accept are left out: some model families have no negative
    prompt or no strength, and then the corresponding field of the request is ignored. `should_stop`
    is called before the first step and, if the pipeline supports callbacks, after each step.

    Raises:
        UnsupportedRequestError: the requested scheduler does not fit the model.
        GenerationError: the model failed; a retry may succeed.
        EngineLostError: the device failed; every later call will fail too.
        GenerationStoppedError: `should_stop` returned true.
    """

    def check_should_stop(*_step: Any) -> dict[str, Any]:
        if should_stop():
            raise GenerationStoppedError("the generation was stopped")
        return {}

    request = samples[0].request
    pipeline = model.pipelines[endpoint]
    pipeline.scheduler = model.scheduler_for(request)
    accepted = signature(type(pipeline).__call__).parameters
    after_step = _STEP_CALLBACK if _STEP_CALLBACK in accepted else _LEGACY_STEP_CALLBACK
    available = {**_arguments(endpoint, samples), after_step: check_should_stop}
    check_should_stop()
    with translated_errors():
        output = pipeline(**{name: value for name, value in available.items() if name in accepted})
        images = [_to_image(pixels) for pixels in output.images]
    size = (request.width, request.height)
    return [
        image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
        for image in images
    ]


def _arguments(endpoint: Endpoint, samples: Sequence[PipelineSample]) -> dict[str, Any]:
    request = samples[0].request
    steps, strength = request.inference_steps, request.strength
    arguments: dict[str, Any] = {
        "prompt": [sample.request.prompt for sample in samples],
        "negative_prompt": [sample.request.negative_prompt for sample in samples],
        "guidance_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        # The same noise on every device.
        "generator": [torch.Generator("cpu").manual_seed(sample.seed) for sample in samples],
        # Otherwise the pipeline replaces the size by the nearest of its own.
        "use_resolution_binning": False,
        "output_type": "np",
    }
    if endpoint is not Endpoint.TEXT2IMG:
        steps, strength = steps_and_strength(steps, strength)
        arguments |= {"image": [sample.init for sample in samples], "strength": strength}
    if endpoint is Endpoint.INPAINT:
        arguments["mask_image"] = [sample.mask for sample in samples]
    return {**arguments, "num_inference_steps": steps}


def _to_image(pixels: npt.NDArray[np.floating[Any]]) -> Image.Image:
    """Return pixels (height × width × 3, 0 to 1) as an RGB image.

    Raises:
        GenerationError: a pixel is not a finite number.
    """
    if not np.isfinite(pixels).all():
        raise GenerationError(NOT_A_NUMBER)
    return Image.fromarray((pixels * 255).round().astype(np.uint8), "RGB")
