"""An engine that draws grey at once: for tests of everything around the drawing."""

from PIL import Image

from common.domain.generation import GenerationRequest
from common.settings import Settings
from common.settings.catalogue import Catalogue
from worker.engine.images.inputs import Pixels
from worker.engine.interface import UNWATCHED, Engine, Generated, Watch


class GreyEngine:
    """Needs no torch, which takes most of a worker's start."""

    @property
    def loaded(self) -> tuple[str, ...]:
        return ()

    def generate(
        self, request: GenerationRequest, pixels: Pixels, watch: Watch = UNWATCHED
    ) -> Generated:
        del pixels
        watch.started()
        grey = Image.new("RGB", (request.width, request.height), "grey")
        return Generated((grey,) * request.samples, (False,) * request.samples, 0.0, 0.0)


def create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    del settings, catalogue
    return GreyEngine()
