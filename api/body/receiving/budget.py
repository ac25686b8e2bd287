"""Budget of bytes for all large request bodies that a gateway process holds at the same time."""

from collections import Counter
from collections.abc import Hashable
from typing import Final

from api.connections.addresses import client_key, parse_address
from api.errors.api_error import BodyBudgetSpentError

# Charged in units of one megabyte, because each large body also needs a file descriptor.
UNIT_BYTES: Final = 1_000_000


class SharedBudget:
    """Bytes shared by many owners, of which an owner may hold no more than it leaves free.

    One owner alone gets a half, and each of n equal owners 1 ÷ (n + 1). Some room is therefore
    always left for one more owner. The rule is the dynamic threshold of Choudhury and Hahne,
    "Dynamic queue length thresholds for shared-memory packet switches" (1998), with a factor of 1.
    """

    def __init__(self, total: int) -> None:
        self._free = total
        self._held: Counter[Hashable] = Counter()

    def take(self, owner: Hashable, size: int) -> bool:
        """Take `size` bytes for `owner`, or return False if the owner would hold too much."""
        if self._held[owner] + size > self._free - size:
            return False
        self._held[owner] += size
        self._free -= size
        return True

    def release(self, owner: Hashable, size: int) -> None:
        """Return `size` bytes that `owner` has taken."""
        self._free += size
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]  # or it would grow with every owner


class BodyBudget:
    """The budget of one process: a half for tenants, a half for bodies without a known key.

    Without a key, the owner of a body is the client's IPv4 address or IPv6 network. However many
    bodies without a key arrive, the half of the tenants stays free for tenants.
    """

    def __init__(self, total: int) -> None:
        self._tenants = SharedBudget(total // 2)
        self._clients = SharedBudget(total // 2)

    def reserve(self, address: str | None, tenant_id: int | None) -> "BodyReservation":
        """Return an empty reservation for one body; `tenant_id` is None until a key is known."""
        if tenant_id is None:
            return BodyReservation(self._tenants, self._clients, _to_client(address))
        return BodyReservation(self._tenants, self._tenants, tenant_id)


class BodyReservation:
    """The part of the budget that one body occupies; `release` returns it."""

    def __init__(self, tenants: SharedBudget, budget: SharedBudget, owner: Hashable) -> None:
        self._tenants = tenants
        self._budget = budget
        self._owner = owner
        self._held = 0

    def grow_to(self, size: int) -> None:
        """Reserve room for a body of `size` bytes in all.

        Raises:
            BodyBudgetSpentError: the owner would hold more than its share.
        """
        missing = -(-size // UNIT_BYTES) * UNIT_BYTES - self._held
        if missing > 0:
            self._take(missing)

    def assign(self, tenant_id: int) -> None:
        """Move the reservation from the client's address to the tenant whose key was found.

        Raises:
            BodyBudgetSpentError: the tenant would hold more than its share.
        """
        held = self._held
        self.release()
        self._budget, self._owner = self._tenants, tenant_id
        if held:
            self._take(held)

    def release(self) -> None:
        """Return all that was reserved; further calls have no effect."""
        if self._held:
            self._budget.release(self._owner, self._held)
            self._held = 0

    def _take(self, size: int) -> None:
        if not self._budget.take(self._owner, size):
            raise BodyBudgetSpentError
        self._held += size


def _to_client(host: str | None) -> str | None:
    """Return the client of a host: an IPv4 address, or the network of an IPv6 address."""
    address = None if host is None else parse_address(host)
    return host if address is None else client_key(address)
