"""A worker process whose memory and waiting images are read while it runs."""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx2

from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK
from deploy.local.stack import worker_process

WATCH_SECONDS: Final = 0.2
WAITING: Final = re.compile(r'^infill_image_bytes_waiting\{place="(\w+)"\} (.+)$', re.MULTILINE)
RESIDENT: Final = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


@dataclass(slots=True)
class Peaks:
    """The largest values of a worker: resident memory, and waiting images by place, in bytes."""

    resident: int = 0
    waiting: Counter[str] = field(default_factory=Counter)

    def include(self, resident: int, waiting: dict[str, int]) -> None:
        """Raise the values to those that were just read."""
        self.resident = max(self.resident, resident)
        self.waiting |= Counter(waiting)


class WatchedWorker:
    """A worker process that can be restarted; `peaks` are those since they were last replaced."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        """Create it without starting it; `environment` is added to that of its process."""
        self._environment = environment
        self.peaks = Peaks()
        self._supervisor = Supervisor(logs)
        self._port: int | None = None

    async def start(self) -> None:
        """Start the worker and wait until it is ready."""
        child = worker_process()
        child = replace(child, environment={**child.environment, **self._environment})
        await self._supervisor.start(child)
        self._port = int(child.environment["INFILL_STATUS_PORT"])

    async def stop(self) -> None:
        """Shut the worker down in order."""
        self._port = None
        await self._supervisor.stop_all()

    async def watch(self) -> None:
        """Read the worker's metrics and memory until canceled."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            while True:
                if self._port is not None:
                    await self._read(client, self._port)
                await asyncio.sleep(WATCH_SECONDS)

    async def _read(self, client: httpx2.AsyncClient, port: int) -> None:
        try:
            text = (await client.get(f"http://{LOOPBACK}:{port}/metrics")).text
            status = Path(f"/proc/{self._supervisor.pids['worker']}/status").read_text()
        except (httpx2.HTTPError, OSError, KeyError):
            return  # it is being restarted
        resident = RESIDENT.search(status)
        waiting = {place: int(float(size)) for place, size in WAITING.findall(text)}
        self.peaks.include(int(resident[1]) * 1024 if resident else 0, waiting)
