"""Run a job that may have killed its worker apart from all others."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from common.domain.job import WORKER_LOST
from common.domain.record import JobRecord

# A job, and the attempts it has.
Admitted: TypeAlias = tuple[JobRecord, int]


def is_suspect(job: JobRecord) -> bool:
    """Tell whether the job's last attempt lost its worker: it may have been the cause."""
    return job.error_code == WORKER_LOST


class Quarantine:
    """One worker's claims, made one at a time; behind a suspect the gate stays shut.

    A claim gives ordinary jobs, or one suspect. So a worker holds one suspect at most, and nothing
    is claimed beside it.
    """

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        self._ordinary = 0
        self._cleared = asyncio.Event()
        self._cleared.set()

    async def admit(self, claim: Callable[[], Awaitable[list[Admitted]]]) -> list[Admitted]:
        """Make a claim; each job it gives has to be told of when it has ended."""
        await self._gate.acquire()
        suspect = False
        try:
            admitted = await claim()
            suspect = any(is_suspect(job) for job, _ in admitted)
        finally:
            if not suspect:
                self._gate.release()
        if admitted and not suspect:
            self._ordinary += len(admitted)
            self._cleared.clear()
        return admitted

    def ended(self, job: JobRecord) -> None:
        """Take note that an admitted job has ended; after a suspect the gate opens again."""
        if is_suspect(job):
            self._gate.release()
            return
        self._ordinary -= 1
        if not self._ordinary:
            self._cleared.set()

    async def alone(self) -> None:
        """Wait until the jobs that are no suspects have ended."""
        await self._cleared.wait()
