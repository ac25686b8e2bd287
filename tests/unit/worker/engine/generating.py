"""Generation with the stand-in models."""

from PIL import Image

from common.domain.generation import Endpoint, GenerationRequest
from tests.unit.worker.engine.sample_images import disc, noise
from worker.engine.images.inputs import InputImages
from worker.engine.interface import (
    NO_CALLBACK,
    Engine,
    GenerationCallback,
    GenerationResult,
)


def inputs_for(request: GenerationRequest) -> InputImages:
    size = (request.width, request.height)
    init = None if request.endpoint is Endpoint.TEXT2IMG else noise(size)
    return InputImages(init, disc(size) if request.endpoint is Endpoint.INPAINT else None)


def generate(
    engine: Engine, request: GenerationRequest, callback: GenerationCallback = NO_CALLBACK
) -> GenerationResult:
    return engine.generate(request, inputs_for(request), callback)


def generate_image(engine: Engine, request: GenerationRequest) -> Image.Image:
    return generate(engine, request).images[0]
