"""Drawing with the stand-ins."""

from collections.abc import Callable

from PIL import Image

from common.domain.generation import Endpoint, GenerationRequest
from tests.unit.worker.generation.pictures import disc, noise
from worker.generation.engine import Engine, Generated, never
from worker.generation.pixels import Pixels


def pixels_for(request: GenerationRequest) -> Pixels:
    size = (request.width, request.height)
    init = None if request.endpoint is Endpoint.TEXT2IMG else noise(size)
    return Pixels(init, disc(size) if request.endpoint is Endpoint.INPAINT else None)


def generated(
    engine: Engine, request: GenerationRequest, should_stop: Callable[[], bool] = never
) -> Generated:
    return engine.generate(request, pixels_for(request), should_stop=should_stop)


def drawn(engine: Engine, request: GenerationRequest) -> Image.Image:
    return generated(engine, request).images[0]
