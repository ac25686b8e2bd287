"""The engine's inside without its thread: requests join and leave at turns the test names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image

from common.domain.errors import InfillError
from common.domain.generation import GenerationRequest
from tests.unit.worker.engine.drawings import pixels_for
from worker.engine.batching.active_request import ActiveRequest
from worker.engine.batching.components import PipelineComponents
from worker.engine.batching.prepared_request import PreparedRequest, prepare
from worker.engine.batching.stepper import Stepper
from worker.engine.devices.device import Cpu, Device
from worker.engine.devices.utilization import DeviceUtilization
from worker.engine.interface import Progress
from worker.engine.masks.canvas import Canvas
from worker.engine.models.loaded_model import LoadedModel

# A test that takes more turns than this hangs.
MOST_TURNS = 500


@dataclass(slots=True)
class Looker:
    """Stops what it looks on at when told to; remembers what it was told."""

    stops: bool = False
    began: int = 0
    seen: list[Progress] = field(default_factory=list)

    def should_stop(self) -> bool:
        return self.stops

    def started(self) -> None:
        self.began += 1

    def progressed(self, progress: Progress) -> None:
        self.seen.append(progress)


class Floor:
    """A stepper, and the stand-ins it steps; any request of `a_request` can be put on it."""

    def __init__(
        self, models: Mapping[str, LoadedModel], device: Device | None = None, *, most: int = 8
    ) -> None:
        self.device = device or Cpu()
        self.busy = DeviceUtilization(self.device)
        self.stepper = Stepper(self.device, self.busy, most=most)
        self._models = models
        self._parts = {
            name: PipelineComponents(next(iter(model.pipelines.values())), threads=1)
            for name, model in models.items()
        }

    def recipe(self, request: GenerationRequest) -> PreparedRequest:
        scheduler = partial(self._models[request.model].scheduler_for, request)
        canvas = Canvas.of(request, pixels_for(request))
        return prepare(self._parts[request.model], request, canvas, scheduler)

    def admit(self, request: GenerationRequest, looker: Looker | None = None) -> ActiveRequest:
        ticket = ActiveRequest(self.recipe(request), looker or Looker())
        self.stepper.admit(ticket)
        return ticket

    def work_off(self) -> None:
        for _ in range(MOST_TURNS):
            if not self.stepper:
                return
            self.stepper.turn()
        raise AssertionError("it does not come to an end")

    def alone(self, request: GenerationRequest) -> list[Image.Image]:
        ticket = self.admit(request)
        self.work_off()
        return images_of(ticket)


def images_of(ticket: ActiveRequest) -> list[Image.Image]:
    """The images as the model drew them: nothing is kept of the init image yet."""
    made = ticket.future.result(timeout=0)
    return [Image.fromarray(copy.wait()[0].numpy(), "RGB") for copy in made.copies]


def failure_of(ticket: ActiveRequest) -> InfillError:
    error = ticket.future.exception(timeout=0)
    assert isinstance(error, InfillError)
    return error


def decibels(one: Image.Image, other: Image.Image) -> float:
    """Peak signal to noise: how near two pictures are; the same are infinitely near."""
    difference = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    error = float((difference**2).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
