"""An engine whose time the prompt sets, and which kills its process for a poison job.

The prompt carries the order: `TOKEN SECONDS`, or `TOKEN poison`.
"""

import threading

from PIL import Image

from common.domain.errors import GenerationStoppedError
from common.domain.generation import GenerationRequest
from common.settings import Settings
from common.settings.catalogue import Catalogue
from tests.chaos.inside.hooks import CRASH_POINTS, JOURNAL
from worker.engine.images.inputs import InputImages
from worker.engine.interface import NO_CALLBACK, Engine, GenerationCallback, GenerationResult

STEP_SECONDS = 0.02


class TimedEngine:
    """Waits in steps, as a real engine computes, and checks before each whether to stop."""

    @property
    def loaded(self) -> tuple[str, ...]:
        return ()

    def generate(
        self,
        request: GenerationRequest,
        inputs: InputImages,
        callback: GenerationCallback = NO_CALLBACK,
    ) -> GenerationResult:
        del inputs
        token, order = request.prompt.split()[:2]
        if order == "poison":
            CRASH_POINTS.die("poison", token=token)
        seconds = float(order)
        callback.on_start()
        JOURNAL.note("generating", token=token)
        pause = threading.Event()
        for step in range(max(1, round(seconds / STEP_SECONDS))):
            if callback.should_stop():
                raise GenerationStoppedError("told to stop")
            if step == 1:
                CRASH_POINTS.crash_if_armed("worker.generating")
            pause.wait(STEP_SECONDS)
        JOURNAL.note("generated", token=token)
        grey = Image.new("RGB", (request.width, request.height), "grey")
        return GenerationResult(
            (grey,) * request.samples, (False,) * request.samples, seconds, seconds
        )


def create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    del settings, catalogue
    return TimedEngine()
