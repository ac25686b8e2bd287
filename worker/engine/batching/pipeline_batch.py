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
_STEP_CALLBACK: Final = "callback_on_step_end"
_LEGACY_STEP_CALLBACK: Final = "callback"


@dataclass(frozen=True, slots=True)
class PipelineSample:
    """One image of a request: its seed, and its pictures, each of the request's size."""

    request: GenerationRequest
    init: Image.Image | None
    mask: Image.Image | None
    seed: int


@dataclass(slots=True, eq=False)
class _PipelineRequest:
    """One request's part in a run."""

    request: GenerationRequest
    canvas: Canvas
    callback: GenerationCallback
    future: Future[GenerationResult] = field(default_factory=Future)
    steps: int = 0

    @property
    def samples(self) -> list[PipelineSample]:
        """An order for each of its images."""
        init, mask = self.canvas.init, self.canvas.mask
        return [PipelineSample(self.request, init, mask, seed) for seed in self.request.seeds]

    def report_step(self) -> bool:
        """Tell of a step, and ask whether to go on; if not, its caller is answered now."""
        if not self.should_continue():
            return False
        if self.steps:
            all_steps = max(self.steps, _step_count(self.request))
            return self._call(lambda: self.callback.on_step(Progress(self.steps, all_steps)))
        return True

    def mark_started(self) -> bool:
        """Tell that the run begins; False if that failed, and so it has ended."""
        return self._call(self.callback.on_start)

    def should_continue(self) -> bool:
        """Ask whether to go on; if not, its caller is answered now."""
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
    """Runs together what came while the device was busy, as one piece of work between two steps.

    One that is stopped is answered at the next step; the run goes on for the others.
    """

    def __init__(self, loop: DeviceLoop, device: Device, *, max_batch: int, threads: int) -> None:
        """Run at most `max_batch` requests together, with so many threads of the CPU."""
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
        """Draw the images of a request, with equal ones if there are some, and wait.

        They come as the model drew them, unchecked, and nothing kept of the init image.

        Raises:
            UnsupportedRequestError: no scheduler of the wanted name fits the model.
            GenerationError: the model failed; another try may succeed.
            GenerationStoppedError: `callback` said to stop.
        """
        member, key = _PipelineRequest(request, canvas, callback), batch_key(request)
        with self._lock:
            self._waiting.setdefault(key, []).append(member)
        # Each comes with an errand; the first that is run takes all that came until then.
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
        torch.set_num_threads(self._threads)  # torch keeps it by thread
        try:
            outcomes = self._runner.run(key, members, partial(self._run_together, model))
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever
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
        """Ask all who look on at a step, those of other requests too: a run may take minutes."""
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
    """Hand the images of a run, and its time, to those it was made for."""
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
    samples: Sequence[PipelineSample],
    should_stop: Callable[[], bool],
) -> list[Image.Image]:
    """Draw an image for each of `samples`, whose requests have equal keys; RGB, of their size.

    A pipeline is given what it takes of a request: there are families that know no negative
    prompt, or no strength, and such a field is then without effect. One that draws in coarser
    sizes than asked for has its image brought to the size. `should_stop` is asked before the
    first step and after each, where the pipeline tells of its steps.

    Raises:
        UnsupportedRequestError: no scheduler of the wanted name fits the model.
        GenerationError: the model failed; another try may succeed.
        GenerationStoppedError: `should_stop` said yes.
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
        # Of sizes to choose from, rather than the one asked for.
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
    """Turn levels in 0 … 1, height × width × 3, into an image."""
    if not np.isfinite(pixels).all():
        raise GenerationError("the model drew pixels that are not numbers")
    return Image.fromarray((pixels * 255).round().astype(np.uint8), "RGB")
