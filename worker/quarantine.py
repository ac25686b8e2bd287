"""Run a job that may have killed its worker apart from all others."""

import asyncio
from collections.abc import Awaitable, Callable

from common.domain.record import ClaimedJob


class Quarantine:
    """Gate around one worker's claims: one claim at a time, and none while it holds a suspect.

    A claim returns ordinary jobs, or one suspect. So a worker holds one suspect at most, and
    nothing is claimed beside it.
    """

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        self._ordinary = 0
        self._cleared = asyncio.Event()
        self._cleared.set()

    async def admit(self, claim: Callable[[], Awaitable[list[ClaimedJob]]]) -> list[ClaimedJob]:
        """Run `claim` and return its jobs; call `ended` for each of them when it has ended."""
        await self._gate.acquire()
        suspect = False
        try:
            admitted = await claim()
            suspect = any(job.suspect for job in admitted)
        finally:
            if not suspect:
                self._gate.release()
        if admitted and not suspect:
            self._ordinary += len(admitted)
            self._cleared.clear()
        return admitted

    def ended(self, job: ClaimedJob) -> None:
        """Record that an admitted job has ended; after a suspect the gate opens again."""
        if job.suspect:
            self._gate.release()
            return
        self._ordinary -= 1
        if not self._ordinary:
            self._cleared.set()

    async def alone(self) -> None:
        """Wait until all jobs except the suspect have ended."""
        await self._cleared.wait()
