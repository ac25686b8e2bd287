"""An engine that draws one colour, when and how the test's studio says so.

It may run in the test's process or in a worker's: they talk over a socket in a folder both know.
"""

import json
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from PIL import Image

from common.catalogue import Catalogue
from common.clock import monotonic
from common.domain.errors import (
    ConfigurationError,
    GenerationError,
    GenerationStoppedError,
    UnsupportedRequestError,
)
from common.domain.generation import GenerationRequest
from common.settings import Settings
from worker.generation.engine import UNWATCHED, Engine, Generated, Watch
from worker.generation.pixels import Pixels

COLOUR = (200, 30, 60)
STEP_SECONDS = 0.02
SOCKET = "studio"
POISON = "what kills whoever draws it"
WEDGE = "what hangs in the driver"
ERRORS: dict[str, Exception] = {
    "refuse": UnsupportedRequestError("the model one cannot do that"),
    "fail": GenerationError("the model failed", detail="out of memory on cuda:0"),
    "stumble": ZeroDivisionError("inner matter"),
}


class StudioEngine:
    """Asks the studio before each picture; a step is one look for its answer."""

    def __init__(self, folder: Path) -> None:
        self._address = str(folder / SOCKET)

    @property
    def loaded(self) -> tuple[str, ...]:
        return ()

    def generate(
        self, request: GenerationRequest, pixels: Pixels, watch: Watch = UNWATCHED
    ) -> Generated:
        started = monotonic()
        watch.started()
        answer = self._ask(request, pixels, watch)
        if answer in ERRORS:
            raise ERRORS[answer]
        image = Image.new("RGB", (request.width, request.height), COLOUR)
        images = (image,) * request.samples
        seconds = monotonic() - started
        return Generated(images, (False,) * request.samples, seconds, seconds)

    def _ask(self, request: GenerationRequest, pixels: Pixels, watch: Watch) -> str:
        order = {
            "prompt": request.prompt,
            "model": request.model,
            "pixels": [image and image.size for image in (pixels.init, pixels.mask)],
            "process": os.getpid(),
        }
        with socket.socket(socket.AF_UNIX) as studio:
            studio.connect(self._address)
            studio.sendall(json.dumps(order).encode() + b"\n")
            studio.settimeout(STEP_SECONDS)
            if request.prompt == POISON:
                os.kill(os.getpid(), signal.SIGKILL)
            while request.prompt == WEDGE or not watch.should_stop():
                with suppress(TimeoutError):
                    return studio.recv(100).decode()
        raise GenerationStoppedError("told to stop")


def create_engine(settings: Settings, _catalogue: Catalogue) -> Engine:
    """Made by a worker process; the folder of models is where the studio is."""
    return StudioEngine(settings.models.directory)


def create_broken_engine(_settings: Settings, _catalogue: Catalogue) -> Engine:
    raise ConfigurationError("the model one cannot be loaded: no such folder")
