"""The seam: whatever draws images stands behind `Engine`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from common.domain.generation import GenerationRequest
from worker.generation.pixels import Pixels


@dataclass(frozen=True, slots=True)
class Generated:
    """What came out: one RGB image of width × height per sample, in the order of the seeds.

    `nsfw[i]` says that image `i` was found unsafe and is blank instead; `seconds` is the measured
    time of this generation alone, without waiting for the engine or loading the model.
    """

    images: tuple[Image.Image, ...]
    nsfw: tuple[bool, ...]
    seconds: float


def never() -> bool:
    """Never stop."""
    return False


class Engine(Protocol):
    """Draws what is asked; safe to call from several threads."""

    def generate(
        self,
        request: GenerationRequest,
        pixels: Pixels,
        *,
        should_stop: Callable[[], bool] = never,
    ) -> Generated:
        """Draw `request.samples` images; the same request and seed give the same images.

        `should_stop` is asked before each step, from the thread that generates; it must be quick.

        Raises:
            UnsupportedRequestError: the model cannot do what was asked.
            GenerationError: the model failed; another try may succeed.
            GenerationStoppedError: `should_stop` said yes.
            ConfigurationError: the model cannot be loaded.
        """
        ...
