"""Keeping what may have killed a worker away from the jobs it could take along."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from common.domain.job import WORKER_LOST
from common.domain.record import JobRecord

Claimed: TypeAlias = tuple[JobRecord, int]


def is_suspect(job: JobRecord) -> bool:
    """Tell whether the job's last attempt lost its worker: it may have been the cause."""
    return job.error_code == WORKER_LOST


class Quarantine:
    """One worker's claims, made one at a time; behind a suspect the gate stays shut.

    So a worker holds one suspect at most, and nothing is claimed beside it.
    """

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        self._ordinary = 0
        self._cleared = asyncio.Event()
        self._cleared.set()

    @asynccontextmanager
    async def admit(
        self, claim: Callable[[], Awaitable[Claimed | None]]
    ) -> AsyncIterator[Claimed | None]:
        """Make a claim; with a suspect the gate opens again at the block's end, else at once."""
        async with self._gate:
            claimed = await claim()
            if claimed is not None and is_suspect(claimed[0]):
                yield claimed
                return
            self._ordinary += 1
            self._cleared.clear()
        try:
            yield claimed
        finally:
            self._ordinary -= 1
            if not self._ordinary:
                self._cleared.set()

    async def alone(self) -> None:
        """Wait until the jobs that are no suspects have ended."""
        await self._cleared.wait()
