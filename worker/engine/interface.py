"""The `Engine` protocol and its types: what the worker needs from an image generator."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

from PIL import Image

from common.domain.generation import GenerationRequest
from worker.engine.images.inputs import InputImages


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """The generated RGB images of width × height pixels: one for each seed, in the same order.

    `nsfw[i]` is true if image `i` was flagged as unsafe; the image is then black. `seconds` is the
    wall-clock time from the start to the end of the work on the request, without queueing and model
    loading. `engine_seconds` is the request's share of the device time: when ten images share a
    step, each is charged a tenth of it. For a request that runs alone the two are nearly the same.
    """

    images: tuple[Image.Image, ...]
    nsfw: tuple[bool, ...]
    seconds: float
    engine_seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a request: `step` of `steps`, counted over all its images.

    `preview` is a small RGB image of the first sample's current state. It is None at steps for
    which no preview is made.
    """

    step: int
    steps: int
    preview: Image.Image | None = None


class GenerationCallback(Protocol):
    """Callbacks of one generation, called from the engine's threads; they must return quickly."""

    def should_stop(self) -> bool:
        """Return whether to cancel the generation; called before each step."""
        ...

    def on_start(self) -> None:
        """Handle the start of the work on the request, which was queued until then."""
        ...

    def on_step(self, progress: Progress) -> None:
        """Handle the completion of a denoising step."""
        ...


class NullCallback:
    """A callback that ignores progress and never stops the generation."""

    def should_stop(self) -> bool:
        """Return False: the generation goes on."""
        return False

    def on_start(self) -> None:
        """Do nothing."""

    def on_step(self, progress: Progress) -> None:
        """Do nothing."""


NO_CALLBACK: Final = NullCallback()


class Engine(Protocol):
    """An image generator; thread-safe."""

    @property
    def loaded(self) -> Collection[str]:
        """Return the names of the models in memory; jobs for these models start without loading."""
        ...

    def generate(
        self,
        request: GenerationRequest,
        inputs: InputImages,
        callback: GenerationCallback = NO_CALLBACK,
    ) -> GenerationResult:
        """Generate `request.samples` images; equal requests with equal seeds give equal images.

        The progress is reported to `callback`, which can also stop the generation.

        Raises:
            UnsupportedRequestError: the model does not support what was requested.
            InvalidImageError: the mask repaints nothing.
            GenerationError: the model failed; a retry may succeed.
            EngineLostError: the device failed; every later call will fail too.
            GenerationStoppedError: `callback.should_stop` returned true.
            ConfigurationError: the model cannot be loaded.
        """
        ...
