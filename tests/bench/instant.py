"""An engine that takes no time: what a job costs beside its generation shows against it."""

from collections.abc import Callable

from PIL import Image

from common.catalogue import Catalogue
from common.domain.generation import GenerationRequest
from common.settings import Settings
from worker.generation.engine import Engine, Generated, never
from worker.generation.pixels import Pixels


class InstantEngine:
    """Gives the init image back, or a grey one."""

    def generate(
        self,
        request: GenerationRequest,
        pixels: Pixels,
        *,
        should_stop: Callable[[], bool] = never,
    ) -> Generated:
        del should_stop
        grey = Image.new("RGB", (request.width, request.height), "grey")
        images = tuple(pixels.init or grey for _ in range(request.samples))
        return Generated(images, (False,) * request.samples, 0.0)


def create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    del settings, catalogue
    return InstantEngine()
