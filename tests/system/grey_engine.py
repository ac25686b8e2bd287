"""An engine that returns grey images at once, for tests of everything but generation."""

from PIL import Image

from common.domain.generation import GenerationRequest
from common.settings import Settings
from common.settings.catalogue import Catalogue
from worker.engine.images.inputs import InputImages
from worker.engine.interface import NO_CALLBACK, Engine, GenerationCallback, GenerationResult


class GreyEngine:
    """Engine without torch, whose import takes most of a worker's start."""

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
        callback.on_start()
        grey = Image.new("RGB", (request.width, request.height), "grey")
        return GenerationResult((grey,) * request.samples, (False,) * request.samples, 0.0, 0.0)


def create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    del settings, catalogue
    return GreyEngine()
