"""A request on its way through the loop, and its images in the making."""

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
from worker.engine.errors import to_infill_error
from worker.engine.interface import GenerationCallback, GenerationResult, Progress
from worker.engine.prompts.conditioning import PromptEmbeds


@dataclass(slots=True, eq=False)
class Sample:
    """One image in the making; its tensors are on the device.

    `latents` are 1 × 4 × height × width. `seen` (1 × 5 × …) is what a UNet for inpainting sees
    beside them, `init_latents` the latents of the init image where they are blended in after each
    step, `noise` what they are noised with for that, `mask` where not.
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
        """The diffusion's time of the next step, on the host."""
        timestep: torch.Tensor = self.start.timesteps.values[self.steps_done]
        return timestep

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done."""
        return self.steps_done == len(self.start.timesteps.values)


@dataclass(frozen=True, slots=True)
class DeviceOutput:
    """The images of a request on their way from the device: levels, and whether all are numbers.

    `started_at` is when the device turned to the request, in seconds of the host's clock.
    `intervals` are the pieces of work done for it, each with its share of them.
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
    """A request under way: ends with `DeviceOutput` or an error, once."""

    prepared: PreparedRequest
    callback: GenerationCallback
    future: Future[DeviceOutput] = field(default_factory=Future)
    samples: list[Sample] = field(default_factory=list)
    started_at: float = 0.0
    intervals: list[tuple[WorkInterval, float]] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether its caller has been answered."""
        return self.future.done()

    def mark_started(self) -> bool:
        """Take note that the device turns to it; False if telling so failed: it has ended."""
        self.started_at = monotonic()
        try:
            self.callback.on_start()
        except Exception as error:  # noqa: BLE001 - it must not take its neighbours along
            self.fail(to_infill_error(error))
            return False
        return True

    def should_continue(self) -> bool:
        """Ask whoever looks on; if the answer is no, or none can be had, it has ended."""
        try:
            if not self.callback.should_stop():
                return True
        except Exception as error:  # noqa: BLE001 - it must not take its neighbours along
            self.fail(to_infill_error(error))
        else:
            self.fail(GenerationStoppedError("the generation was stopped"))
        return False

    def report_step(self, preview: Image.Image | None = None) -> bool:
        """Tell whoever looks on how far it is; False if that failed, and so it has ended."""
        try:
            self.callback.on_step(Progress(*self.steps, preview))
        except Exception as error:  # noqa: BLE001 - it must not take its neighbours along
            self.fail(to_infill_error(error))
            return False
        return True

    @property
    def steps(self) -> tuple[int, int]:
        """Steps done, and to be done in all, of all its images."""
        each = len(self.samples[0].start.timesteps.values)
        return sum(sample.steps_done for sample in self.samples), each * len(self.samples)

    def fail(self, error: InfillError) -> None:
        """End with an error."""
        if not self.has_ended:
            self.future.set_exception(error)

    def finish_if_complete(self) -> None:
        """End, if the last of its images has left."""
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
        raise GenerationError("the model drew pixels that are not numbers")
    return Image.fromarray(pixels.numpy(), "RGB")
