"""State of an active request and of its samples, while the device loop works on them."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from PIL import Image

from common.domain.errors import GenerationError, GenerationStoppedError, InfillError
from common.runtime.clock import monotonic
from worker.engine.batching.prepared_request import PreparedRequest, SampleStart
from worker.engine.devices.device import HostCopy
from worker.engine.devices.utilization import WorkInterval
from worker.engine.errors import NOT_A_NUMBER, to_infill_error
from worker.engine.interface import GenerationCallback, GenerationResult, Progress
from worker.engine.prompts.conditioning import PromptEmbeds


@dataclass(slots=True, eq=False)
class Sample:
    """One image being generated; its tensors are on the device.

    `latents` is 1 × 4 × height × width (latent size). `extra_channels` (1 × 5 × height × width)
    holds the mask and the masked image's latents, which an inpainting UNet takes as additional
    input channels.

    For inpainting with any other UNet, `init_latents` are the latents of the init image. After each
    step they are noised with `noise` to the noise level of that step and replace `latents` where
    `mask` is 0. `pixels` is the finished image on its way to the host.
    """

    active: "ActiveRequest"
    start: SampleStart
    latents: torch.Tensor
    prompt: PromptEmbeds
    extra_channels: torch.Tensor | None = None
    init_latents: torch.Tensor | None = None
    noise: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    steps_done: int = 0
    pixels: HostCopy | None = None

    @property
    def timestep(self) -> torch.Tensor:
        """Return the timestep of the next step: a zero-dimensional tensor on the host."""
        timestep: torch.Tensor = self.start.timesteps.values[self.steps_done]
        return timestep

    @property
    def is_finished(self) -> bool:
        """Return whether all denoising steps of the image are done."""
        return self.steps_done == len(self.start.timesteps.values)


@dataclass(frozen=True, slots=True)
class DeviceOutput:
    """Images of a finished request, still being copied from the device.

    Each copy in `copies` holds one image's pixels (height × width × 3, uint8) and a flag: whether
    all decoded values were finite. `started_at` is when the work on the request began, in seconds
    of `monotonic`. `intervals` are the intervals of device work spent on the request, each with the
    fraction (0 to 1) that is charged to it.
    """

    copies: tuple[HostCopy, ...]
    started_at: float
    intervals: tuple[tuple[WorkInterval, float], ...]

    def wait(self) -> GenerationResult:
        """Wait for the copies and return the images, not yet checked by the safety checker.

        Raises:
            GenerationError: an image has pixels that are not finite numbers.
        """
        images = tuple(_to_image(copy) for copy in self.copies)
        return GenerationResult(
            images=images,
            nsfw=(False,) * len(images),
            seconds=monotonic() - self.started_at,
            engine_seconds=sum(interval.seconds * share for interval, share in self.intervals),
        )


@dataclass(slots=True, eq=False, weakref_slot=True)
class ActiveRequest:
    """A request in the device loop; its future gets one result: a `DeviceOutput` or an error."""

    prepared: PreparedRequest
    callback: GenerationCallback
    future: Future[DeviceOutput] = field(default_factory=Future)
    samples: list[Sample] = field(default_factory=list)
    started_at: float = 0.0
    intervals: list[tuple[WorkInterval, float]] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Return whether the request has succeeded or failed."""
        return self.future.done()

    def mark_started(self) -> bool:
        """Record the start time and call `on_start`; return False if the callback raised.

        In that case the request has failed with the callback's error.
        """
        self.started_at = monotonic()
        try:
            self.callback.on_start()
        except Exception as error:  # noqa: BLE001 - other requests must not fail with it
            self.fail(to_infill_error(error))
            return False
        return True

    def should_continue(self) -> bool:
        """Call `should_stop`; if it returns true or raises, fail the request and return False."""
        try:
            if not self.callback.should_stop():
                return True
        except Exception as error:  # noqa: BLE001 - other requests must not fail with it
            self.fail(to_infill_error(error))
        else:
            self.fail(GenerationStoppedError("the generation was stopped"))
        return False

    def report_step(self, preview: Image.Image | None = None) -> bool:
        """Call `on_step` with the progress and any preview; return False if the callback raised.

        In that case the request has failed with the callback's error.
        """
        try:
            self.callback.on_step(Progress(*self.steps, preview))
        except Exception as error:  # noqa: BLE001 - other requests must not fail with it
            self.fail(to_infill_error(error))
            return False
        return True

    @property
    def steps(self) -> tuple[int, int]:
        """Return (steps done, steps in total), both summed over all images of the request."""
        each = len(self.samples[0].start.timesteps.values)
        return sum(sample.steps_done for sample in self.samples), each * len(self.samples)

    def fail(self, error: InfillError) -> None:
        """Fail the request with `error`; do nothing if it has already ended."""
        if not self.has_ended:
            self.future.set_exception(error)

    def finish_if_complete(self) -> None:
        """End the request successfully once the pixels of all its images are being copied."""
        copies: Sequence[HostCopy] = [
            sample.pixels for sample in self.samples if sample.pixels is not None
        ]
        if len(copies) == len(self.prepared.starts) and not self.has_ended:
            self.future.set_result(
                DeviceOutput(tuple(copies), self.started_at, tuple(self.intervals))
            )


def _to_image(copy: HostCopy) -> Image.Image:
    pixels, finite = copy.wait()
    if not finite:
        raise GenerationError(NOT_A_NUMBER)
    return Image.fromarray(pixels.numpy(), "RGB")
