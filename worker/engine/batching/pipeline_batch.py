"""Equal requests for a model that runs whole, gathered until the device is free for them."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

import torch
from PIL import Image

from common.domain.errors import GenerationStoppedError, InfillError
from common.domain.generation import Endpoint, GenerationRequest
from common.runtime.clock import monotonic
from worker.engine.batching.batch_limit import BatchSizeLimiter
from worker.engine.batching.bisect import BisectingRunner
from worker.engine.batching.loop import DeviceLoop
from worker.engine.batching.pipeline_run import PipelineSample, batch_key, run_pipeline
from worker.engine.batching.timesteps import steps_and_strength
from worker.engine.devices.device import Device
from worker.engine.errors import to_infill_error
from worker.engine.interface import GenerationCallback, GenerationResult, Progress
from worker.engine.masks.canvas import Canvas
from worker.engine.models.loaded_model import LoadedModel


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
