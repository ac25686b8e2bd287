"""An engine that generates one colour, controlled by the test's `EngineControl`.

It may run in the test's process or in a worker: they communicate over a socket in a folder.
"""

import json
import os
import signal
import socket
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Event

from PIL import Image

from common.domain.errors import (
    ConfigurationError,
    EngineLostError,
    GenerationError,
    GenerationStoppedError,
    UnsupportedRequestError,
)
from common.domain.generation import GenerationRequest
from common.runtime.clock import monotonic
from common.settings import Settings
from common.settings.catalogue import Catalogue
from worker.engine.images.inputs import InputImages
from worker.engine.interface import (
    NO_CALLBACK,
    Engine,
    GenerationCallback,
    GenerationResult,
    Progress,
)

COLOUR = (200, 30, 60)
STEP_SECONDS = 0.02
STEPS = 20
PREVIEW = Image.new("RGB", (8, 8), COLOUR)
# Part of the engine's time that belongs to the job.
PART = 0.5
SOCKET = "engine_control"
KILLS_WORKER = "kills the worker that runs it"
HANGS_IN_DRIVER = "hangs in the driver"
WAITS_FOR_ENGINE = "waits for the engine"
ERRORS: dict[str, Exception] = {
    "reject": UnsupportedRequestError("the model one cannot do that"),
    "fail": GenerationError("the model failed", detail="out of memory on cuda:0"),
    "crash": ZeroDivisionError("inner matter"),
    "break": EngineLostError("the device has failed", detail="illegal access"),
}


class ControlledEngine:
    """Engine that asks the control for each generation; each step polls for the response.

    Each generation runs in its caller's thread and reports each step. None starts before `room`
    is set, and a prompt `WAITS_FOR_ENGINE` never does.
    """

    def __init__(self, folder: Path, room: Event | None = None) -> None:
        self._address = str(folder / SOCKET)
        self._room = room

    @property
    def loaded(self) -> tuple[str, ...]:
        return ()

    def generate(
        self,
        request: GenerationRequest,
        inputs: InputImages,
        callback: GenerationCallback = NO_CALLBACK,
    ) -> GenerationResult:
        self._wait_for_room(request, callback)
        started = monotonic()
        callback.on_start()
        response = self._ask(request, inputs, callback)
        if response in ERRORS:
            raise ERRORS[response]
        image = Image.new("RGB", (request.width, request.height), COLOUR)
        images = (image,) * request.samples
        seconds = monotonic() - started
        return GenerationResult(images, (False,) * request.samples, seconds, seconds * PART)

    def _wait_for_room(self, request: GenerationRequest, callback: GenerationCallback) -> None:
        room = Event() if request.prompt == WAITS_FOR_ENGINE else self._room
        while room is not None and not room.wait(STEP_SECONDS):
            if callback.should_stop():
                raise GenerationStoppedError("the attempt was stopped")

    def _ask(
        self, request: GenerationRequest, inputs: InputImages, callback: GenerationCallback
    ) -> str:
        request_line = {
            "prompt": request.prompt,
            "model": request.model,
            "pixels": [image and image.size for image in (inputs.init, inputs.mask)],
            "process": os.getpid(),
        }
        with socket.socket(socket.AF_UNIX) as engine_control:
            engine_control.connect(self._address)
            engine_control.sendall(json.dumps(request_line).encode() + b"\n")
            engine_control.settimeout(STEP_SECONDS)
            if request.prompt == KILLS_WORKER:
                os.kill(os.getpid(), signal.SIGKILL)
            for step in count(1):
                if request.prompt != HANGS_IN_DRIVER and callback.should_stop():
                    break
                with suppress(TimeoutError):
                    return engine_control.recv(100).decode()
                callback.on_step(Progress(min(step, STEPS), STEPS, PREVIEW))
        raise GenerationStoppedError("the attempt was stopped")


def create_engine(settings: Settings, _catalogue: Catalogue) -> Engine:
    """Create the engine in a worker process; its models' folder holds the control's socket."""
    return ControlledEngine(settings.models.directory)


def create_broken_engine(_settings: Settings, _catalogue: Catalogue) -> Engine:
    raise ConfigurationError("the model one cannot be loaded: no such folder")
