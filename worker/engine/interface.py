"""The seam: whatever draws images stands behind `Engine`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

from PIL import Image

from common.domain.generation import GenerationRequest
from worker.engine.images.inputs import InputImages


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What came out: one RGB image of width × height per sample, in the order of the seeds.

    `nsfw[i]` says that image `i` was found unsafe and is blank instead. `seconds` is the measured
    time from the first work on this request to its last, without waiting for the engine or loading
    the model. `engine_seconds` is its part of the engine's time: a step that ten images took
    together is a tenth of each; alone in the engine both are nearly the same.
    """

    images: tuple[Image.Image, ...]
    nsfw: tuple[bool, ...]
    seconds: float
    engine_seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request is: `step` of `steps`, counted over all its images.

    `preview` is a small RGB picture of what the first image is becoming; most have none.
    """

    step: int
    steps: int
    preview: Image.Image | None = None


class GenerationCallback(Protocol):
    """Whoever asked for images and looks on; called from the engine's threads, so: quick."""

    def should_stop(self) -> bool:
        """Tell whether to stop; asked before each step."""
        ...

    def on_start(self) -> None:
        """Take note that the work has begun; until then the request waited for the engine."""
        ...

    def on_step(self, progress: Progress) -> None:
        """Take note of a step done."""
        ...


class NullCallback:
    """Looks on at nothing and stops nothing."""

    def should_stop(self) -> bool:
        """Say no."""
        return False

    def on_start(self) -> None:
        """Take no note."""

    def on_step(self, progress: Progress) -> None:
        """Take no note."""


NO_CALLBACK: Final = NullCallback()


class Engine(Protocol):
    """Draws what is asked, for several threads at once."""

    @property
    def loaded(self) -> Collection[str]:
        """The names of the models whose jobs can start at once."""
        ...

    def generate(
        self,
        request: GenerationRequest,
        inputs: InputImages,
        callback: GenerationCallback = NO_CALLBACK,
    ) -> GenerationResult:
        """Draw `request.samples` images; the same request and seed give the same images.

        Raises:
            UnsupportedRequestError: the model cannot do what was asked.
            GenerationError: the model failed; another try may succeed.
            EngineLostError: so will whatever is asked of this engine from now on.
            GenerationStoppedError: `callback` said to stop.
            ConfigurationError: the model cannot be loaded.
        """
        ...
