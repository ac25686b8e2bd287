"""Slots of a shared resource, of which a tenant gets at most as many as stay free for others."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    tenant_id: int
    admitted: asyncio.Future[None]


class FairSlots:
    """Slots that tenants acquire and release, shared by dynamic thresholds.

    A tenant may hold as many slots as are free afterwards, so one that is alone holds half of them,
    and another tenant finds a free slot at once. A tenant that holds none may take the last one. Of
    the tenants that wait, the one that holds the fewest slots is served first, then the one that
    has waited longest. The rule is that of Choudhury and Hahne, "Dynamic queue length thresholds
    for shared-memory packet switches" (1998), with a factor of 1.
    """

    def __init__(self, number: int) -> None:
        self._number: Final = number
        self._held: Counter[int] = Counter()
        self._waiters: list[_Waiter] = []

    async def acquire(self, tenant_id: int) -> None:
        """Wait for a slot for the tenant; the caller must release it."""
        waiter = _Waiter(tenant_id, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._admit_waiters()
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter.admitted.cancelled():
                self._waiters.remove(waiter)
            else:  # admitted in the same iteration of the event loop
                self.release(tenant_id)
            raise

    def release(self, tenant_id: int) -> None:
        """Release a slot that the tenant has acquired."""
        self._held[tenant_id] -= 1
        self._held += Counter()  # drop the tenants that hold none
        self._admit_waiters()

    def _admit_waiters(self) -> None:
        while (waiter := self._next_waiter()) is not None:
            self._waiters.remove(waiter)
            self._held[waiter.tenant_id] += 1
            waiter.admitted.set_result(None)

    def _next_waiter(self) -> _Waiter | None:
        free = self._number - self._held.total()
        eligible = (
            waiter
            for waiter in self._waiters
            if not waiter.admitted.done() and self._may_take(waiter.tenant_id, free)
        )
        return min(eligible, key=lambda waiter: self._held[waiter.tenant_id], default=None)

    def _may_take(self, tenant_id: int, free: int) -> bool:
        held = self._held[tenant_id]
        return held + 1 <= free - 1 or (free > 0 and not held)
