"""Drawing with the stand-ins."""

from collections.abc import Callable

from PIL import Image

from common.domain.generation import Endpoint, GenerationRequest
from tests.unit.worker.engine.sample_images import disc, noise
from worker.engine.images.inputs import Pixels
from worker.engine.interface import UNWATCHED, Engine, Generated, Unwatched, Watch


def pixels_for(request: GenerationRequest) -> Pixels:
    size = (request.width, request.height)
    init = None if request.endpoint is Endpoint.TEXT2IMG else noise(size)
    return Pixels(init, disc(size) if request.endpoint is Endpoint.INPAINT else None)


class Stopping(Unwatched):
    """Stops what it looks on at when `should_stop` says so."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def should_stop(self) -> bool:
        return self._should_stop()


def generated(engine: Engine, request: GenerationRequest, watch: Watch = UNWATCHED) -> Generated:
    return engine.generate(request, pixels_for(request), watch)


def drawn(engine: Engine, request: GenerationRequest) -> Image.Image:
    return generated(engine, request).images[0]
