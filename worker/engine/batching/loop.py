"""The one thread that owns the device."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeAlias, TypeVar

import structlog

from common.domain.errors import GenerationError
from worker.engine.batching.active_request import ActiveRequest, DeviceOutput
from worker.engine.batching.prepared_request import PreparedRequest
from worker.engine.batching.stepper import Stepper
from worker.engine.devices.device import Device
from worker.engine.devices.utilization import DeviceUtilization
from worker.engine.errors import to_infill_error
from worker.engine.interface import GenerationCallback

T = TypeVar("T")
# Work beside the steps: done between two of them.
_Errand: TypeAlias = Callable[[], None]

log = structlog.get_logger(__name__)


class DeviceLoop:
    """Turns as long as there is work; callers' threads hand it in and wait.

    The thread starts with the first work and ends with `close`.
    """

    def __init__(self, device: Device, *, most: int) -> None:
        """Let at most `most` images take a step together."""
        self._busy = DeviceUtilization(device)
        self._stepper = Stepper(device, self._busy, most=most)
        self._inbox: SimpleQueue[ActiveRequest | _Errand | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closing = False
        self._ended = False
        self._errands: deque[_Errand] = deque()

    def draw(self, recipe: PreparedRequest, watch: GenerationCallback) -> DeviceOutput:
        """Make the images of a request, together with whatever else is under way, and wait.

        Raises:
            GenerationError: the model failed; another try may succeed.
            GenerationStoppedError: `watch` said to stop.
        """
        ticket = ActiveRequest(recipe, watch)
        self._hand_in(ticket)
        try:
            return ticket.future.result()
        finally:
            # An error knows the frames it came through, and they would know the ticket that holds
            # the error: a circle around tensors, which the collector may leave for minutes.
            del ticket

    def do(self, work: Callable[[], T]) -> T:
        """Let the loop's thread do something with the device between two steps, and wait.

        Raises:
            Exception: what `work` raised.
        """
        future: Future[T] = Future()

        def errand() -> None:
            try:
                done = work()
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
                future.set_exception(error)
            else:
                future.set_result(done)

        self._hand_in(errand)
        return future.result()

    def post(self, errand: _Errand) -> None:
        """Let the loop's thread do something between two steps, and do not wait; it may not raise.

        Raises:
            GenerationError: the engine has been closed.
        """
        self._hand_in(errand)

    def look_on(self) -> None:
        """Ask all who look on whether to go on; for an errand that takes long, now and then."""
        self._admit_all()
        self._stepper.ask()

    def close(self) -> None:
        """Give up what is under way, and end the thread."""
        with self._starting:
            self._closing = True
            thread = self._thread
        self._inbox.put(None)
        if thread is not None:
            thread.join()

    def _hand_in(self, work: ActiveRequest | _Errand) -> None:
        with self._starting:
            if self._closing:
                raise GenerationError("the engine has been closed")
            if self._thread is None:
                # A daemon: a hung driver must not keep the process from its end.
                self._thread = threading.Thread(target=self._run, name="device", daemon=True)
                self._thread.start()
            self._inbox.put(work)

    def _run(self) -> None:
        while not self._ended:
            try:
                self._take_in()
                # One errand, then a step: neither keeps the other waiting for more than that.
                if self._errands:
                    with self._busy.at_work():
                        self._errands.popleft()()
                if self._stepper:
                    self._stepper.turn()
            except Exception as error:
                # A fault of our own: nobody may wait for ever because of it.
                log.exception("engine_turn_failed")
                self._stepper.fail_all(to_infill_error(error))
        for errand in self._errands:  # what was handed in before is still done
            errand()
        self._stepper.fail_all(GenerationError("the engine has been closed"))

    def _take_in(self) -> None:
        """Take what has come in; wait for it if there is nothing to do."""
        if not self._stepper and not self._errands:
            self._busy.rest()
            self._admit(self._inbox.get())
        self._admit_all()

    def _admit_all(self) -> None:
        with suppress(Empty):
            while True:
                self._admit(self._inbox.get_nowait())

    def _admit(self, work: ActiveRequest | _Errand | None) -> None:
        if work is None:
            self._ended = True
        elif isinstance(work, ActiveRequest):
            self._stepper.admit(work)
        else:
            self._errands.append(work)
