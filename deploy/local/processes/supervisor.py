"""A supervisor of child processes: starts them in order, watches them, stops them in reverse."""

import asyncio
import os
from asyncio.subprocess import Process
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import IO, Self

import structlog

from common.domain.errors import ConfigurationError
from common.runtime.clock import monotonic
from deploy.local.processes.child import Child
from deploy.local.processes.child_exit import ChildExit, log_tail
from deploy.local.processes.readiness import wait_until_ready
from deploy.local.processes.spawn import spawn

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    child: Child
    process: Process
    exited: asyncio.Task[ChildExit]


class Supervisor:
    """Async context manager that starts child processes and stops all of them when it exits.

    Use each instance on one event loop only.
    """

    def __init__(self, logs: Path) -> None:
        """Create a supervisor that writes each child's output to a file in the folder `logs`."""
        self._logs = logs
        self._running: list[_Running] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop_all()

    async def start(self, child: Child) -> int:
        """Start `child`, wait until it is ready, and return its process id.

        Raises:
            ConfigurationError: the child ended or was not ready in time; the message has the end of
                its log.
        """
        started = monotonic()
        with self._open_log(child.name) as output:
            process = await spawn(child, output)
        exited = asyncio.create_task(_wait_for_exit(child, process, Path(output.name)))
        self._running.append(_Running(child, process, exited))
        try:
            await _wait_until_ready(child, exited)
        except ConfigurationError as error:
            words = log_tail(Path(output.name))
            raise ConfigurationError(f"could not start: {error}. {words}") from error
        took_ms = round((monotonic() - started) * 1000)
        log.info("child_started", child=child.name, pid=process.pid, took_ms=took_ms)
        return process.pid

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children, keyed by name."""
        return {running.child.name: running.process.pid for running in self._running}

    async def wait_for_exit(self) -> ChildExit:
        """Wait until any child ends by itself, and return how it ended.

        Raises:
            ValueError: there is no child to wait for.
        """
        deaths = [running.exited for running in self._running]
        await asyncio.wait(deaths, return_when=asyncio.FIRST_COMPLETED)
        return next(exited.result() for exited in deaths if exited.done())

    async def stop_all(self) -> None:
        """Stop all children that have not ended, in reverse order of starting."""
        while self._running:
            running = self._running[-1]
            await _stop_child(running)
            self._running.remove(running)

    def _open_log(self, name: str) -> IO[bytes]:
        """Return a new log file for the child `name`, readable by its owner, opened for writing.

        The log of the previous run is renamed to `*.log.1`.
        """
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._logs / f"{name}.log"
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        return open(path, "ab", opener=partial(os.open, mode=0o600))


async def _wait_until_ready(child: Child, exited: asyncio.Task[ChildExit]) -> None:
    ready = asyncio.create_task(wait_until_ready(child.ready, child.name, child.ready_seconds))
    try:
        await asyncio.wait((ready, exited), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
        (failure,) = await asyncio.gather(ready, return_exceptions=True)
    if exited.done():
        raise ConfigurationError(exited.result().summary)
    if failure is not None:
        raise failure


async def _wait_for_exit(child: Child, process: Process, output: Path) -> ChildExit:
    exit_code = await process.wait()
    log.info("child_ended", child=child.name, pid=process.pid, exit_code=exit_code)
    return ChildExit(child.name, exit_code, output)


async def _stop_child(running: _Running) -> None:
    child, process = running.child, running.process
    if running.exited.done():
        return
    with suppress(ProcessLookupError):  # it has just ended, and the event is not handled yet
        process.send_signal(child.stop_signal)
    await asyncio.wait((running.exited,), timeout=child.stop_seconds)
    if not running.exited.done():
        log.warning("child_killed", child=child.name, waited_seconds=child.stop_seconds)
        # The whole group, including processes it may have started.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, Signals.SIGKILL)
        await running.exited
