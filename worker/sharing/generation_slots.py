"""A worker's slots for generations, and the room they leave each tenant for further claims."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from common.domain.job import Claim
from common.domain.record import JobRecord
from common.runtime.clock import monotonic

# A job that is being prepared holds its image files in memory, 40 MB at most.
MAX_PREPARING_PER_SLOT: Final = 4


@dataclass(frozen=True, slots=True)
class ClaimRoom:
    """Room for further claims: `jobs` in all, and of some tenants only a part of them.

    `by_tenant` has an entry for each tenant with jobs in preparation: how many more it may have.
    """

    jobs: int
    by_tenant: Mapping[int, int] = field(default_factory=dict)

    @property
    def full_tenants(self) -> frozenset[int]:
        """The ids of the tenants that have no room left although other tenants have."""
        return frozenset(tenant for tenant, jobs in self.by_tenant.items() if not jobs)


class GenerationSlots:
    """The slots of a worker for its claimed jobs; a job in preparation takes none from others.

    A job is prepared first: its images are fetched and decoded, which takes as long as its tenant's
    servers and files make it take. Then it occupies a slot until it ends. A tenant's jobs in
    preparation each take one slot of those that the tenant could still use, so a tenant that is
    alone never holds more claims than there are slots. For all other tenants they count as one
    job, however many they are. If no slot is occupied, there is always room for one more tenant.

    While claims are paused there is no room, except for a single job once the pause has ended and
    all other jobs have too.

    See docs/decisions/0036-preparation-occupies-no-slot.md.
    """

    def __init__(self, number: int) -> None:
        """Create `number` free slots."""
        self._number = number
        self._preparing: dict[Claim, int] = {}
        self._occupied: set[Claim] = set()
        self._awaited: set[int] = set()
        self._changed = asyncio.Event()
        self._closed = False
        self._paused_until: float | None = None

    @property
    def free(self) -> int:
        """Return how many jobs of a tenant without jobs in preparation may be claimed now."""
        return self.room().jobs

    def room(self) -> ClaimRoom:
        """Return how many more jobs may be claimed now."""
        if self._paused_until is not None:
            holds_none = not (self._preparing or self._occupied)
            return ClaimRoom(int(holds_none and monotonic() >= self._paused_until))
        preparing = Counter(self._preparing.values())
        left = self._number - len(self._occupied)
        most = self._number * MAX_PREPARING_PER_SLOT - preparing.total()
        least = 0 if self._occupied else 1
        by_tenant = {
            tenant: max(0, min(left - jobs - (len(preparing) - 1), most))
            for tenant, jobs in preparing.items()
        }
        return ClaimRoom(max(0, min(max(left - len(preparing), least), most)), by_tenant)

    def start(self, job: JobRecord, *, has_inputs: bool) -> None:
        """Count the claimed `job` as in preparation; without input images it needs none."""
        if has_inputs:
            self._preparing[job.claim] = job.tenant_id
        else:
            self._occupied.add(job.claim)

    def occupy(self, job: JobRecord) -> None:
        """Move `job` from preparation into a slot, even if no slot is free."""
        self._preparing.pop(job.claim, None)
        self._occupied.add(job.claim)
        self._notify()

    def end(self, job: JobRecord) -> None:
        """Forget `job`, which has ended."""
        self._preparing.pop(job.claim, None)
        self._occupied.discard(job.claim)
        self._notify()

    def pause(self, seconds: float) -> None:
        """Pause claims until `resume`; after `seconds` one job at a time may be claimed."""
        self._paused_until = monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds, self._notify)

    def resume(self) -> None:
        """End a pause of claims."""
        self._paused_until = None
        self._notify()

    def close(self) -> None:
        """Wake all callers that wait, because nothing is claimed any more."""
        self._closed = True
        self._notify()

    async def wait_for_room(self) -> ClaimRoom:
        """Wait until there is room for a claim, and return it; without any once closed."""
        await self._wait_until(lambda: self.free > 0)
        return ClaimRoom(0) if self._closed else self.room()

    async def wait_while_paused(self) -> None:
        """Wait until claims are not paused, or a single job may be claimed."""
        await self._wait_until(lambda: self._paused_until is None or self.free > 0)

    async def wait_for_tenants(self, full_tenants: frozenset[int]) -> bool:
        """Wait until one of `full_tenants` can use a slot again, and return True.

        Return False when the slots are closed. Return False at once if another caller already
        waits; that caller then also waits for these tenants.
        """
        waits = bool(self._awaited)
        self._awaited |= full_tenants
        if waits:
            return False
        await self._wait_until(lambda: not self._awaited <= self.room().full_tenants)
        self._awaited.clear()
        return not self._closed

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not (self._closed or condition()):
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
