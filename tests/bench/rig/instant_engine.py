"""An engine that takes no time, so that only the cost outside generation is measured."""

from PIL import Image

from common.domain.generation import GenerationRequest
from common.settings import Settings
from common.settings.catalogue import Catalogue
from worker.engine.images.inputs import InputImages
from worker.engine.interface import NO_CALLBACK, Engine, GenerationCallback, GenerationResult


class InstantEngine:
    """Returns the init image, or a grey one."""

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
        callback.on_start()
        grey = Image.new("RGB", (request.width, request.height), "grey")
        images = tuple(inputs.init or grey for _ in range(request.samples))
        return GenerationResult(images, (False,) * request.samples, 0.0, 0.0)


def create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    del settings, catalogue
    return InstantEngine()
