"""An engine that repaints the mask in red, step by step, with previews."""

from threading import Event
from typing import Final

from PIL import Image

from common.domain.errors import GenerationError, GenerationStoppedError
from common.domain.generation import Endpoint, GenerationRequest
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

# Words in the prompt that change what happens.
ENDLESS: Final = "endless"
BROKEN: Final = "broken"
SLOW: Final = "slow"
STEP_SECONDS: Final = {ENDLESS: 0.02, SLOW: 0.1}
RED: Final = (255, 0, 0)
ENDLESS_STEPS: Final = 1_000_000


class RedEngine:
    """Paints the repainted part red; a text2img result is all red, an img2img result unchanged."""

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
        if BROKEN in request.prompt:
            raise GenerationError("the model failed")
        image = inputs.init or Image.new("RGB", (request.width, request.height), RED)
        if request.endpoint is Endpoint.INPAINT:
            assert inputs.mask is not None
            image = image.copy()
            image.paste(RED, mask=inputs.mask)
        seconds = next((STEP_SECONDS[word] for word in STEP_SECONDS if word in request.prompt), 0)
        pause = Event()
        steps = ENDLESS_STEPS if ENDLESS in request.prompt else request.inference_steps
        for step in range(1, steps + 1):
            if callback.should_stop():
                raise GenerationStoppedError("stopped")
            shade = Image.new("RGB", image.size, (step % 256, 0, 0))
            callback.on_step(Progress(step, steps, shade))
            pause.wait(seconds)
        images = (image,) * request.samples
        return GenerationResult(images, (False,) * request.samples, 0.0, 0.0)


def create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    del settings, catalogue
    return RedEngine()
