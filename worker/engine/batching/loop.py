"""The device thread, the only thread that runs models on the device."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias, TypeVar

import structlog

from common.domain.errors import GenerationError
from worker.engine.batching.active_request import ActiveRequest
from worker.engine.batching.prepared_request import PreparedRequest
from worker.engine.batching.stepper import Stepper
from worker.engine.devices.device import Device
from worker.engine.devices.utilization import DeviceUtilization
from worker.engine.errors import to_infill_error
from worker.engine.interface import GenerationCallback, GenerationResult

T = TypeVar("T")
# Work that runs between two steps.
_Task: TypeAlias = Callable[[], None]

_CLOSED: Final = "the images were not generated: the worker is shutting down"

log = structlog.get_logger(__name__)


class DeviceLoop:
    """Runs denoising steps on one thread while there is work; callers submit requests and wait.

    The thread starts with the first submission and ends with `close`.
    """

    def __init__(self, device: Device, *, max_batch: int) -> None:
        """Create the loop without starting its thread; at most `max_batch` images share a step."""
        self._utilization = DeviceUtilization(device)
        self._stepper = Stepper(device, self._utilization, max_batch=max_batch)
        self._inbox: SimpleQueue[ActiveRequest | _Task | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closing = False
        self._ended = False
        self._tasks: deque[_Task] = deque()

    def generate(self, prepared: PreparedRequest, callback: GenerationCallback) -> GenerationResult:
        """Generate the images of a request, batched with other active requests, and return them.

        Raises:
            GenerationError: the model failed; a retry may succeed.
            EngineLostError: the device failed; every later call will fail too.
            GenerationStoppedError: `callback.should_stop` returned true.
        """
        active = ActiveRequest(prepared, callback)
        self._submit(active)
        try:
            output = active.future.result()
        finally:
            # A raised error references this frame, and through `active` the future that holds the
            # error: a reference cycle around tensors, which could survive for minutes.
            del active
        return output.wait()

    def run(self, work: Callable[[], T]) -> T:
        """Run `work` on the device thread between two steps, wait for it, and return its result.

        Raises:
            Exception: whatever `work` raised.
            GenerationError: the engine has been closed.
        """
        future: Future[T] = Future()

        def task() -> None:
            try:
                done = work()
            except BaseException as error:  # noqa: BLE001 - it is raised in the caller
                future.set_exception(error)
            else:
                future.set_result(done)

        self._submit(task)
        return future.result()

    def post(self, task: _Task) -> None:
        """Submit `task` to run on the device thread between two steps, without waiting for it.

        The task must not raise.

        Raises:
            GenerationError: the engine has been closed.
        """
        self._submit(task)

    def check_callbacks(self) -> None:
        """Accept submitted work and cancel the requests whose callbacks say to stop.

        Long tasks on the device thread must call this regularly.
        """
        self._drain_inbox()
        self._stepper.check_callbacks()

    def close(self) -> None:
        """Fail the active requests, run the tasks submitted so far, and end the thread."""
        with self._starting:
            self._closing = True
            thread = self._thread
        self._inbox.put(None)
        if thread is not None:
            thread.join()

    def _submit(self, work: ActiveRequest | _Task) -> None:
        with self._starting:
            if self._closing:
                raise GenerationError(_CLOSED)
            if self._thread is None:
                # A daemon: a hung driver must not keep the process from exiting.
                self._thread = threading.Thread(target=self._run, name="device", daemon=True)
                self._thread.start()
            self._inbox.put(work)

    def _run(self) -> None:
        while not self._ended:
            try:
                self._receive()
                # One task, then one step, so that neither waits for more than one of the other.
                if self._tasks:
                    with self._utilization.record_work():
                        self._tasks.popleft()()
                if self._stepper:
                    self._stepper.run_once()
            except Exception as error:
                # A bug in the engine: no caller may wait forever because of it.
                log.exception("engine_loop_failed")
                self._stepper.fail_all(to_infill_error(error))
        for task in self._tasks:  # tasks submitted before the closing are still run
            task()
        self._stepper.fail_all(GenerationError(_CLOSED))

    def _receive(self) -> None:
        """Accept submitted work; if there is nothing to do, block until work is submitted."""
        if not self._stepper and not self._tasks:
            self._utilization.mark_idle()
            self._dispatch(self._inbox.get())
        self._drain_inbox()

    def _drain_inbox(self) -> None:
        with suppress(Empty):
            while True:
                self._dispatch(self._inbox.get_nowait())

    def _dispatch(self, work: ActiveRequest | _Task | None) -> None:
        if work is None:
            self._ended = True
        elif isinstance(work, ActiveRequest):
            self._stepper.add(work)
        else:
            self._tasks.append(work)
