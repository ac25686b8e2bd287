"""The state of a request in the device loop, and of each of its images."""

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

    `latents` is 1 × 4 × height × width (latent size). `extra_channels` (1 × 5 × height × width) is
    the mask and the masked image's latents, which a UNet for inpainting takes beside the latents.

    For inpainting with any other UNet, `init_latents` are the latents of the init image, blended in
    after each step where `mask` is 0, at the noise level of that step with the noise `noise`.
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
        """Return the timestep of the next step: a tensor without dimensions, on the host."""
        timestep: torch.Tensor = self.start.timesteps.values[self.steps_done]
        return timestep

    @property
    def is_finished(self) -> bool:
        """Return whether all steps are done."""
        return self.steps_done == len(self.start.timesteps.values)


@dataclass(frozen=True, slots=True)
class DeviceOutput:
    """Pixels of a finished request, still being copied from the device.

    Each copy holds the pixels (height × width × 3, uint8) and whether all values were finite.
    `started_at` is when the work on the request began, in seconds of `monotonic`. `intervals` are
    the device work done for it, each with the request's share of the interval (0 to 1).
    """

    copies: tuple[HostCopy, ...]
    started_at: float
    intervals: tuple[tuple[WorkInterval, float], ...]

    def wait(self) -> GenerationResult:
        """Wait for the copies and return the images; none is flagged as unsafe yet.

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
    """A request in the device loop; its future gets a `DeviceOutput` or an error, once."""

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
        """Record the start and call `on_start`; return False if the callback failed the request."""
        self.started_at = monotonic()
        try:
            self.callback.on_start()
        except Exception as error:  # noqa: BLE001 - other requests must not fail with it
            self.fail(to_infill_error(error))
            return False
        return True

    def should_continue(self) -> bool:
        """Call `should_stop`; fail the request and return False if it says to stop, or raises."""
        try:
            if not self.callback.should_stop():
                return True
        except Exception as error:  # noqa: BLE001 - other requests must not fail with it
            self.fail(to_infill_error(error))
        else:
            self.fail(GenerationStoppedError("the generation was stopped"))
        return False

    def report_step(self, preview: Image.Image | None = None) -> bool:
        """Call `on_step` with the progress; return False if the callback failed the request."""
        try:
            self.callback.on_step(Progress(*self.steps, preview))
        except Exception as error:  # noqa: BLE001 - other requests must not fail with it
            self.fail(to_infill_error(error))
            return False
        return True

    @property
    def steps(self) -> tuple[int, int]:
        """Return the number of steps done and the total, both over all images."""
        each = len(self.samples[0].start.timesteps.values)
        return sum(sample.steps_done for sample in self.samples), each * len(self.samples)

    def fail(self, error: InfillError) -> None:
        """End the request with an error, unless it has ended."""
        if not self.has_ended:
            self.future.set_exception(error)

    def finish_if_complete(self) -> None:
        """End the request successfully if the pixels of all its images are on their way."""
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
