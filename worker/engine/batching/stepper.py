"""One iteration of the device loop: encode new requests, step a batch, decode finished images."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TypeVar

import torch
from PIL import Image

from common.domain.errors import InfillError
from common.runtime.metrics import BATCH_SIZE, SAMPLES_ACTIVE, STEPS
from worker.engine.batching.active_request import ActiveRequest, Sample
from worker.engine.batching.batch_limit import BatchSizeLimiter
from worker.engine.batching.batch_queue import FairBatchQueue
from worker.engine.batching.bisect import BisectingRunner, Outcome
from worker.engine.batching.decoding import decode
from worker.engine.batching.denoising import predict_noise, step
from worker.engine.batching.encoding import encode
from worker.engine.batching.previews import PreviewQueue
from worker.engine.devices.device import Device, HostCopy
from worker.engine.devices.utilization import DeviceUtilization
from worker.engine.errors import to_infill_error

Item = TypeVar("Item", ActiveRequest, Sample)
Out = TypeVar("Out")


class Stepper:
    """The active requests of one device and their denoising; used from the device thread only."""

    def __init__(self, device: Device, utilization: DeviceUtilization, *, max_batch: int) -> None:
        """Create a stepper with no requests yet; at most `max_batch` images share a step."""
        self._device = device
        self._utilization = utilization
        self._limiter = BatchSizeLimiter(device, max_batch=max_batch)
        self._runner = BisectingRunner(device, self._limiter)
        self._previews = PreviewQueue(device)
        self._waiting: list[ActiveRequest] = []
        self._stepping: FairBatchQueue[Sample] = FairBatchQueue()
        self._finished: list[Sample] = []
        self._requests: dict[ActiveRequest, None] = {}  # in order of arrival

    def __bool__(self) -> bool:
        """Return whether any request is active."""
        return bool(self._requests)

    def add(self, active: ActiveRequest) -> None:
        """Add a request, which starts as soon as there is room in a batch."""
        self._requests[active] = None
        self._waiting.append(active)

    def run_once(self) -> None:
        """Encode new requests, advance one batch by one step, and decode finished images."""
        self.check_callbacks()
        for active, preview in self._previews.take_ready():
            self._report_step(active, preview)
        self._encode()
        self._step()
        self._decode()
        self._device.throttle()
        SAMPLES_ACTIVE.set(len(self._stepping))

    def check_callbacks(self) -> None:
        """Cancel the requests whose callbacks say to stop."""
        for active in list(self._requests):
            if not active.should_continue():
                self._drop(active)

    def fail_all(self, error: InfillError) -> None:
        """Fail all active requests with `error`."""
        for active in list(self._requests):
            active.fail(error)
            self._drop(active)

    def _encode(self) -> None:
        """Encode the oldest request that can step now, batched with others of equal `_encode_key`.

        Requests that cannot step yet stay queued, so that they neither occupy device memory nor
        count as started.
        """
        able = [active for active in self._waiting if self._can_step(active)]
        if not able:
            return
        key = _encode_key(able[0])
        chosen = [active for active in able if _encode_key(active) == key]
        chosen = chosen[: self._limiter.limit(key)]
        for active in chosen:
            self._waiting.remove(active)
            if not active.mark_started():
                self._drop(active)
        chosen = [active for active in chosen if not active.has_ended]
        if not chosen:
            return
        work = partial(encode, device=self._device)
        for active, samples in zip(chosen, self._run(key, chosen, work), strict=True):
            if isinstance(samples, InfillError):
                self._fail(active, samples)
                continue
            active.samples = samples
            for sample in samples:
                self._stepping.add(_step_key(active), sample, cost=_cost(sample))

    def _can_step(self, active: ActiveRequest) -> bool:
        key = _step_key(active)
        return self._stepping.count(key) < self._limiter.limit(key)

    def _step(self) -> None:
        chosen = self._stepping.next_batch(self._limiter.limit)
        if not chosen:
            return
        BATCH_SIZE.observe(len(chosen))
        STEPS.inc()
        work = partial(_step_all, device=self._device)
        key = _step_key(chosen[0].active)
        for sample, failure in zip(chosen, self._run(key, chosen, work), strict=True):
            if failure is not None:
                self._fail(sample.active, failure)
            elif sample.is_finished and not sample.active.has_ended:
                self._stepping.remove(key, sample)
                self._finished.append(sample)
        # A request with several images in the batch reports once.
        for active in {sample.active: None for sample in chosen if not sample.active.has_ended}:
            self._report_step(active)
            if not active.has_ended:
                self._previews.add(active)

    def _decode(self) -> None:
        while self._finished:
            key = _decode_key(self._finished[0].active)
            chosen = [each for each in self._finished if _decode_key(each.active) == key]
            self._finished = [each for each in self._finished if each not in chosen]
            work = partial(_decode_all, device=self._device)
            for sample, copy in zip(chosen, self._run(key, chosen, work), strict=True):
                if isinstance(copy, InfillError):
                    self._fail(sample.active, copy)
                    continue
                sample.pixels = copy
                sample.active.finish_if_complete()
                if sample.active.has_ended:
                    self._drop(sample.active)

    def _report_step(self, active: ActiveRequest, preview: Image.Image | None = None) -> None:
        if not active.report_step(preview):
            self._drop(active)

    def _run(
        self, key: Hashable, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Out]]
    ) -> list[Outcome[Out]]:
        """Run `work` on `items` and return the outcome for each item, a result or an error.

        The device time is charged to the items' requests in equal parts.
        """
        active_requests = [
            item if isinstance(item, ActiveRequest) else item.active for item in items
        ]
        torch.set_num_threads(
            active_requests[0].prepared.components.threads
        )  # a setting of the thread in torch
        with self._utilization.record_work() as interval:
            for active in active_requests:
                active.intervals.append((interval, 1 / len(active_requests)))
            return self._runner.run(key, items, work)

    def _fail(self, active: ActiveRequest, error: InfillError) -> None:
        active.fail(error)
        self._drop(active)

    def _drop(self, active: ActiveRequest) -> None:
        """Remove `active`, a request that has ended, and its samples from all queues."""
        self._requests.pop(active, None)
        self._previews.discard(active)
        if active in self._waiting:
            self._waiting.remove(active)
        for sample in active.samples:
            self._stepping.remove(_step_key(active), sample)
            if sample in self._finished:
                self._finished.remove(sample)
        # Samples reference their request: the cycle could hold tensors for minutes.
        active.samples = []


def _step_all(samples: Sequence[Sample], device: Device) -> list[InfillError | None]:
    """Predict the noise of all samples, then step each; return each step's error, or None.

    Errors of single steps are returned instead of raised, because a raised error makes the whole
    batch run again, and a sample must not step twice.
    """
    return [
        _try_step(sample, noise)
        for sample, noise in zip(samples, predict_noise(samples, device), strict=True)
    ]


def _try_step(sample: Sample, noise: torch.Tensor) -> InfillError | None:
    try:
        step(sample, noise)
    except Exception as error:  # noqa: BLE001 - a scheduler can fail in any way
        return to_infill_error(error)
    return None


def _decode_all(samples: Sequence[Sample], device: Device) -> list[HostCopy]:
    return [device.to_host(*decoded) for decoded in decode(samples)]


def _encode_key(active: ActiveRequest) -> Hashable:
    """Return a key that is equal for requests that can be encoded in one batch.

    Requests with equal keys need the same memory.
    """
    prepared = active.prepared
    encoded_images = (
        prepared.needs_init,
        prepared.masked is not None and prepared.components.takes_mask,
    )
    return "encode", prepared.request.model, prepared.shape, encoded_images


def _step_key(active: ActiveRequest) -> Hashable:
    """Return a key that is equal for requests whose samples can share a UNet call.

    Such requests have the same model, latent shape and prompt length, and either all or none of
    them use guidance.
    """
    prepared = active.prepared
    has_guidance = prepared.prompt.negative is not None
    return "step", prepared.request.model, prepared.shape, prepared.prompt.tokens, has_guidance


def _decode_key(active: ActiveRequest) -> Hashable:
    return "decode", active.prepared.request.model, active.prepared.shape


def _cost(sample: Sample) -> float:
    """Return the cost of one denoising step: batch rows (2 with guidance) times latent pixels."""
    rows = 1 if sample.prompt.negative is None else 2
    *_, height, width = sample.active.prepared.shape
    return float(rows * height * width)
