"""One turn of the loop: what came in is encoded, a batch takes a step, what is done is decoded."""

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
from worker.engine.batching.denoising import predict, step
from worker.engine.batching.encoding import encode
from worker.engine.batching.previews import PreviewQueue
from worker.engine.devices.device import Device, HostCopy
from worker.engine.devices.utilization import DeviceUtilization
from worker.engine.errors import to_infill_error

Item = TypeVar("Item", ActiveRequest, Sample)
Out = TypeVar("Out")


class Stepper:
    """All requests under way on one device. Used from the loop's thread alone."""

    def __init__(self, device: Device, busy: DeviceUtilization, *, most: int) -> None:
        """Let at most `most` images take a step together."""
        self._device = device
        self._busy = busy
        self._room = BatchSizeLimiter(device, most=most)
        self._batches = BisectingRunner(device, self._room)
        self._previews = PreviewQueue(device)
        self._waiting: list[ActiveRequest] = []
        self._stepping: FairBatchQueue[Sample] = FairBatchQueue()
        self._finished: list[Sample] = []
        self._tickets: dict[ActiveRequest, None] = {}  # in the order they came

    def __bool__(self) -> bool:
        """Whether anything is under way."""
        return bool(self._tickets)

    def admit(self, ticket: ActiveRequest) -> None:
        """Take a request in; it joins the next step."""
        self._tickets[ticket] = None
        self._waiting.append(ticket)

    def turn(self) -> None:
        """Move on by one step of one batch, and by all that comes before and after it."""
        self.ask()
        for ticket, preview in self._previews.arrived():
            self._tell(ticket, preview)
        self._encode()
        self._step()
        self._decode()
        self._device.keep_pace()
        SAMPLES_ACTIVE.set(len(self._stepping))

    def ask(self) -> None:
        """Ask all who look on whether to go on; whoever says no is answered now."""
        for ticket in list(self._tickets):
            if not ticket.ask_to_go_on():
                self._drop(ticket)

    def fail_all(self, error: InfillError) -> None:
        """Give everything up."""
        for ticket in list(self._tickets):
            ticket.fail(error)
            self._drop(ticket)

    def _encode(self) -> None:
        """Encode those that wait, as far as they are of one kind with the first and can step.

        Whoever could not step yet goes on waiting: its time has not begun, and it takes no memory.
        """
        able = [ticket for ticket in self._waiting if self._has_room(ticket)]
        if not able:
            return
        key = _encode_key(able[0])
        chosen = [ticket for ticket in able if _encode_key(ticket) == key]
        chosen = chosen[: self._room.of(key)]
        for ticket in chosen:
            self._waiting.remove(ticket)
            if not ticket.begin():
                self._drop(ticket)
        chosen = [ticket for ticket in chosen if not ticket.has_ended]
        if not chosen:
            return
        work = partial(encode, device=self._device)
        for ticket, samples in zip(chosen, self._run(key, chosen, work), strict=True):
            if isinstance(samples, InfillError):
                self._fail(ticket, samples)
                continue
            ticket.samples = samples
            for sample in samples:
                self._stepping.add(_step_key(ticket), sample, cost=_cost(sample))

    def _has_room(self, ticket: ActiveRequest) -> bool:
        key = _step_key(ticket)
        return self._stepping.count(key) < self._room.of(key)

    def _step(self) -> None:
        chosen = self._stepping.next(self._room.of)
        if not chosen:
            return
        BATCH_SIZE.observe(len(chosen))
        STEPS.inc()
        work = partial(_step_all, device=self._device)
        key = _step_key(chosen[0].ticket)
        for sample, failure in zip(chosen, self._run(key, chosen, work), strict=True):
            if failure is not None:
                self._fail(sample.ticket, failure)
            elif sample.is_finished and not sample.ticket.has_ended:
                self._stepping.remove(key, sample)
                self._finished.append(sample)
        # A request of several images tells of all of them at once.
        for ticket in {sample.ticket: None for sample in chosen if not sample.ticket.has_ended}:
            self._tell(ticket)
            if not ticket.has_ended:
                self._previews.note(ticket)

    def _decode(self) -> None:
        while self._finished:
            key = _decode_key(self._finished[0].ticket)
            chosen = [each for each in self._finished if _decode_key(each.ticket) == key]
            self._finished = [each for each in self._finished if each not in chosen]
            work = partial(_decode_all, device=self._device)
            for sample, copy in zip(chosen, self._run(key, chosen, work), strict=True):
                if isinstance(copy, InfillError):
                    self._fail(sample.ticket, copy)
                    continue
                sample.image = copy
                sample.ticket.finish_if_complete()
                if sample.ticket.has_ended:
                    self._drop(sample.ticket)

    def _tell(self, ticket: ActiveRequest, preview: Image.Image | None = None) -> None:
        if not ticket.tell(preview):
            self._drop(ticket)

    def _run(
        self, key: Hashable, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Out]]
    ) -> list[Outcome[Out]]:
        """Do one piece of work, and share its time among those it was done for."""
        tickets = [item if isinstance(item, ActiveRequest) else item.ticket for item in items]
        torch.set_num_threads(tickets[0].recipe.parts.threads)  # torch keeps it by thread
        with self._busy.at_work() as piece:
            for ticket in tickets:
                ticket.pieces.append((piece, 1 / len(tickets)))
            return self._batches.run(key, items, work)

    def _fail(self, ticket: ActiveRequest, error: InfillError) -> None:
        ticket.fail(error)
        self._drop(ticket)

    def _drop(self, ticket: ActiveRequest) -> None:
        """Forget a request that has ended, wherever its images are."""
        self._tickets.pop(ticket, None)
        self._previews.forget(ticket)
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        for sample in ticket.samples:
            self._stepping.remove(_step_key(ticket), sample)
            if sample in self._finished:
                self._finished.remove(sample)
        # They know their ticket: left to the collector, that circle would hold tensors for minutes.
        ticket.samples = []


def _step_all(samples: Sequence[Sample], device: Device) -> list[InfillError | None]:
    """Predict for all together, then let each step by itself; a step that fails is told of.

    Once one has stepped the work may not be repeated, so nothing is raised from there on.
    """
    return [
        _failure(sample, noise)
        for sample, noise in zip(samples, predict(samples, device), strict=True)
    ]


def _failure(sample: Sample, noise: torch.Tensor) -> InfillError | None:
    try:
        step(sample, noise)
    except Exception as error:  # noqa: BLE001 - a scheduler can fail in any way
        return to_infill_error(error)
    return None


def _decode_all(samples: Sequence[Sample], device: Device) -> list[HostCopy]:
    return [device.to_host(*decoded) for decoded in decode(samples)]


def _encode_key(ticket: ActiveRequest) -> Hashable:
    """Tell which requests can be encoded together, and take the same memory for it."""
    recipe = ticket.recipe
    pictures = (recipe.needs_init, recipe.masked is not None and recipe.parts.takes_mask)
    return "encode", recipe.request.model, recipe.shape, pictures


def _step_key(ticket: ActiveRequest) -> Hashable:
    """Tell whose images can step together: prompts of another length do not stack."""
    recipe = ticket.recipe
    has_guidance = recipe.prompt.unwanted is not None
    return "step", recipe.request.model, recipe.shape, recipe.prompt.tokens, has_guidance


def _decode_key(ticket: ActiveRequest) -> Hashable:
    return "decode", ticket.recipe.request.model, ticket.recipe.shape


def _cost(sample: Sample) -> float:
    """Give the work of a step, in rows of the batch times latent pixels."""
    rows = 1 if sample.guided.unwanted is None else 2
    *_, height, width = sample.ticket.recipe.shape
    return float(rows * height * width)
