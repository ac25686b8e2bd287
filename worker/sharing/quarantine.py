"""Quarantine of suspects: a job that may have crashed its worker runs without other jobs."""

import asyncio
from collections.abc import Awaitable, Callable

from common.domain.record import ClaimedJob


class Quarantine:
    """Gate for one worker's claims: one claim at a time, and none while the worker holds a suspect.

    A suspect is a job that may have crashed a worker before. A claim returns either ordinary jobs
    or one suspect. So a worker holds at most one suspect, and does not claim while the suspect
    runs.
    """

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        self._ordinary = 0
        self._cleared = asyncio.Event()
        self._cleared.set()

    async def admit(self, claim: Callable[[], Awaitable[list[ClaimedJob]]]) -> list[ClaimedJob]:
        """Run `claim` when the gate is open, and return the claimed jobs.

        The caller must call `ended` for each of these jobs when it has ended.
        """
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
        """Record that an admitted job has ended; if it was a suspect, open the gate again."""
        if job.suspect:
            self._gate.release()
            return
        self._ordinary -= 1
        if not self._ordinary:
            self._cleared.set()

    async def alone(self) -> None:
        """Wait until all admitted jobs except the suspect have ended."""
        await self._cleared.wait()
