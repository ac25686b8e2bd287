"""The stepper without its thread: requests join and leave at iterations that the test chooses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image

from common.domain.errors import InfillError
from common.domain.generation import GenerationRequest
from tests.unit.worker.engine.generating import inputs_for
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
MAX_ITERATIONS = 500


@dataclass(slots=True)
class RecordingCallback:
    """A callback that records its calls; `stop` makes it ask for a stop."""

    stop: bool = False
    starts: int = 0
    steps: list[Progress] = field(default_factory=list)

    def should_stop(self) -> bool:
        return self.stop

    def on_start(self) -> None:
        self.starts += 1

    def on_step(self, progress: Progress) -> None:
        self.steps.append(progress)


class StepperHarness:
    """A stepper and its stand-in models, for any request of `a_request`."""

    def __init__(
        self, models: Mapping[str, LoadedModel], device: Device | None = None, *, max_batch: int = 8
    ) -> None:
        self.device = device or Cpu()
        self.busy = DeviceUtilization(self.device)
        self.stepper = Stepper(self.device, self.busy, max_batch=max_batch)
        self._models = models
        self._parts = {
            name: PipelineComponents(next(iter(model.pipelines.values())), threads=1)
            for name, model in models.items()
        }

    def prepare(self, request: GenerationRequest) -> PreparedRequest:
        scheduler = partial(self._models[request.model].scheduler_for, request)
        canvas = Canvas.of(request, inputs_for(request))
        return prepare(self._parts[request.model], request, canvas, scheduler)

    def add(
        self, request: GenerationRequest, callback: RecordingCallback | None = None
    ) -> ActiveRequest:
        active = ActiveRequest(self.prepare(request), callback or RecordingCallback())
        self.stepper.add(active)
        return active

    def run_to_end(self) -> None:
        for _ in range(MAX_ITERATIONS):
            if not self.stepper:
                return
            self.stepper.run_once()
        raise AssertionError("it does not come to an end")

    def alone(self, request: GenerationRequest) -> list[Image.Image]:
        active = self.add(request)
        self.run_to_end()
        return images_of(active)


def images_of(active: ActiveRequest) -> list[Image.Image]:
    """Return the images as the model generated them, not composed with the init image."""
    return list(active.future.result(timeout=0).wait().images)


def failure_of(active: ActiveRequest) -> InfillError:
    error = active.future.exception(timeout=0)
    assert isinstance(error, InfillError)
    return error


def decibels(one: Image.Image, other: Image.Image) -> float:
    """Return the peak signal-to-noise ratio of two images; infinite if they are equal."""
    difference = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    error = float((difference**2).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
