"""Equal requests for a model that runs whole, gathered until the device is free for them."""

from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

import torch

from common.clock import monotonic
from common.domain.errors import GenerationStoppedError, InfillError
from common.domain.generation import GenerationRequest
from worker.generation.batching.batches import Batches
from worker.generation.batching.device import Device
from worker.generation.batching.loop import Loop
from worker.generation.batching.room import Room
from worker.generation.engine import Generated, Progress, Watch
from worker.generation.failures import told
from worker.generation.masks.canvas import Canvas
from worker.generation.models.loaded import LoadedModel
from worker.generation.whole import WholeOrder, equal_key, run_whole


@dataclass(slots=True, eq=False)
class _Part:
    """One request's part in a run."""

    request: GenerationRequest
    canvas: Canvas
    watch: Watch
    future: Future[Generated] = field(default_factory=Future)
    steps: int = 0

    @property
    def orders(self) -> list[WholeOrder]:
        """An order for each of its images."""
        init, mask = self.canvas.init, self.canvas.mask
        return [WholeOrder(self.request, init, mask, seed) for seed in self.request.seeds]

    def goes_on(self) -> bool:
        """Tell of a step, and ask whether to go on; if not, its caller is answered now."""
        if self.future.done():
            return False
        try:
            if self.watch.should_stop():
                raise GenerationStoppedError("the generation was stopped")  # noqa: TRY301
            if self.steps:
                all_steps = max(self.steps, self.request.inference_steps)
                self.watch.progressed(Progress(self.steps, all_steps))
        except Exception as error:  # noqa: BLE001 - it must not take the others along
            self.future.set_exception(told(error))
            return False
        self.steps += 1
        return True


class Gathering:
    """Runs together what came while the device was busy, as one piece of work between two steps.

    One that is stopped is answered at the next step; the run goes on for the others.
    """

    def __init__(self, loop: Loop, device: Device, *, most: int, threads: int) -> None:
        """Run at most `most` requests together, with so many threads of the CPU."""
        self._loop = loop
        self._batches = Batches(device, Room(device, most=most))
        self._threads = threads
        self._waiting: dict[Hashable, list[_Part]] = {}
        self._lock = Lock()

    def draw(
        self, model: LoadedModel, request: GenerationRequest, canvas: Canvas, watch: Watch
    ) -> Generated:
        """Draw the images of a request, with equal ones if there are some, and wait.

        They come as the model drew them, unchecked, and nothing kept of the init image.

        Raises:
            UnsupportedRequestError: no scheduler of the wanted name fits the model.
            GenerationError: the model failed; another try may succeed.
            GenerationStoppedError: `watch` said to stop.
        """
        part, key = _Part(request, canvas, watch), equal_key(request)
        with self._lock:
            self._waiting.setdefault(key, []).append(part)
        # Each comes with an errand; the first that is run takes all that came until then.
        self._loop.do(partial(self._run, model, key))
        return part.future.result()

    def _run(self, model: LoadedModel, key: Hashable) -> None:
        with self._lock:
            parts = self._waiting.pop(key, [])
        torch.set_num_threads(self._threads)  # torch keeps it by thread
        for part, outcome in zip(
            parts, self._batches.run(key, parts, partial(_together, model)), strict=True
        ):
            if part.future.done():
                continue
            if isinstance(outcome, InfillError):
                part.future.set_exception(outcome)
            else:
                part.future.set_result(outcome)


def _together(model: LoadedModel, parts: Sequence[_Part]) -> list[Generated]:
    began = monotonic()
    for part in parts:
        part.steps = 0
        part.watch.started()
    orders = [order for part in parts for order in part.orders]
    images = iter(run_whole(model, parts[0].request.endpoint, orders, partial(_nobody_left, parts)))
    seconds = monotonic() - began
    return [
        Generated(
            images=tuple(next(images) for _ in part.request.seeds),
            nsfw=(False,) * part.request.samples,
            seconds=seconds,
            engine_seconds=seconds / len(parts),
        )
        for part in parts
    ]


def _nobody_left(parts: Sequence[_Part]) -> bool:
    return not [part for part in parts if part.goes_on()]
