"""Processes that are restarted whenever they end, as by an orchestrator."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

from common.runtime.clock import monotonic
from deploy.local.processes.child import Child
from deploy.local.processes.readiness import wait_until_ready
from deploy.local.processes.spawn import spawn
from tests.chaos.journal import Journal

READY_SECONDS = 120.0  # of all that starts together, on a machine that does other things


class Member:
    """One member of the fleet; its process changes with every restart."""

    def __init__(self, child: Child, journal: Journal, logs: Path) -> None:
        self.child = child
        self._journal = journal
        self._log = logs / f"{child.name}.log"
        self._wanted = False
        self._process: Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.child.name

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def up(self) -> float:
        """Start it, wait until it is ready, and return the moment."""
        self._wanted = True
        await self._start()
        self._keeping = asyncio.create_task(self._keep())
        return await self.ready()

    async def ready(self) -> float:
        await wait_until_ready(self.child.ready, self.name, READY_SECONDS)
        return monotonic()

    async def down(self) -> None:
        """Kill it and its children, without a restart."""
        self._wanted = False
        self._journal.note("killed", place=self.name, victim=self.pid)
        children = _children_of(self.pid)
        self._signal_group(signal.SIGKILL)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        await self._gone()

    async def leave(self) -> None:
        """Ask it to stop and wait until it has, without a restart."""
        self._wanted = False
        self._journal.note("asked_to_leave", name=self.name, victim=self.pid)
        self._signal(self.child.stop_signal)
        await self._gone()

    def kill(self) -> None:
        """Kill it; it is restarted."""
        self._journal.note("killed", place=self.name, victim=self.pid)
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        self._journal.note("frozen", victim=self.pid)
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._journal.note("thawed", victim=self.pid)
        self._signal(signal.SIGCONT)

    async def end(self) -> None:
        """Stop it for good, whatever its state."""
        self._wanted = False
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGCONT)
        self._signal(self.child.stop_signal)
        try:
            async with asyncio.timeout(self.child.stop_seconds):
                await self._gone()
        except TimeoutError:
            self._signal_group(signal.SIGKILL)
            await self._gone()

    async def _start(self) -> None:
        with self._log.open("ab") as output:
            self._process = await spawn(self.child, output)
        self._journal.note("started", name=self.name, child=self.pid)

    async def _keep(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            self._journal.note("ended", name=self.name, child=self.pid, code=code)
            if not self._wanted:
                return
            await self._start()

    async def _gone(self) -> None:
        if self._keeping is not None:
            await asyncio.shield(self._keeping)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(self.pid, number)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def _children_of(pid: int) -> list[int]:
    """Name its children: those of Postgres lead groups of their own.

    Left alive, one that is at work finds out late that it is an orphan, and until then a new
    Postgres does not start. Where a container ends, all that is in it ends at once.
    """
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
