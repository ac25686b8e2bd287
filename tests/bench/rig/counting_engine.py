"""An engine that returns noise after a given time, and records each generation in a file."""

import threading
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from common.domain.errors import GenerationStoppedError
from common.domain.generation import GenerationRequest
from common.settings import Settings
from common.settings.catalogue import Catalogue
from worker.engine.images.inputs import InputImages
from worker.engine.interface import NO_CALLBACK, Engine, GenerationCallback, GenerationResult

GENERATIONS: Final = "generations"
STEP_SECONDS: Final = 0.05


class CountingEngine:
    """Generates noise, which PNG cannot compress; a line of the file is a request's prompt.

    The prompt is `NUMBER SECONDS`, with the seconds that the generation takes.
    """

    def __init__(self, generations: Path) -> None:
        self._generations = generations

    @property
    def loaded(self) -> tuple[str, ...]:
        """Nothing has to be loaded."""
        return ()

    def generate(
        self,
        request: GenerationRequest,
        inputs: InputImages,
        callback: GenerationCallback = NO_CALLBACK,
    ) -> GenerationResult:
        del inputs
        callback.on_start()
        seconds = float(request.prompt.split()[1])
        pause = threading.Event()
        for _ in range(round(seconds / STEP_SECONDS)):
            if callback.should_stop():
                raise GenerationStoppedError("the attempt was stopped")
            pause.wait(STEP_SECONDS)
        with self._generations.open("a") as file:
            file.write(f"{request.prompt}\n")
        shape = (request.height, request.width, 3)
        noise = np.random.default_rng(request.seed).integers(0, 256, shape, np.uint8)
        images = (Image.fromarray(noise),) * request.samples
        return GenerationResult(images, (False,) * request.samples, seconds, seconds)


def create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    """Create the engine; its file of generations is in the models' folder."""
    del catalogue
    return CountingEngine(settings.models.directory / GENERATIONS)
