"""All connections of a gateway: who is admitted, who is closed for it, and the sweep of deadlines.

At the limit a new connection is not refused, because it may be a healthy client's. Instead the
connection that is worth least is closed: the longest idle one, or the oldest with an unfinished
request. A client that sends its request at once is never the oldest of those.
"""

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Final, Protocol

from api.connections.addresses import Address, TrustedProxies, client_key
from api.connections.http_error import HttpError
from api.connections.limits import ConnectionLimits
from api.connections.phases import Phase, PhaseOrder
from api.connections.refused import RefusedLog
from api.metrics import CONNECTIONS
from common.runtime.clock import monotonic
from common.runtime.fair_queues import FairRate, FairTurns

# The first step of a request takes up to half a millisecond.
STARTS_PER_ITERATION: Final = 2
# Large bodies that begin without a key in a header. A gateway cannot serve more: each costs some
# ten milliseconds if it is valid, and nearly as much if it is not.
UNKNOWN_PER_SECOND: Final = 100
UNKNOWN_BURST: Final = 10

# Connections whose deadlines are checked in one iteration of the event loop.
CHECKED_AT_ONCE: Final = 50


class Member(Protocol):
    """A connection, as the table sees it."""

    client_key: str | None  # the client it is counted for; None for proxies and local sockets

    def evict(self) -> None:
        """Close the connection at once, because there are too many."""

    def turn_away(self, error: HttpError) -> None:
        """Send this error without having read a request, and close the connection."""

    def check_deadlines(self, now: float) -> None:
        """Close the connection if its client is too slow."""


class ConnectionTable:
    """The connections of one gateway process."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._proxies = TrustedProxies(limits.trusted_proxies)
        self.refused = RefusedLog(limits.log_seconds)
        self.starts = FairTurns(STARTS_PER_ITERATION)
        self.unknown_senders = FairRate(per_second=UNKNOWN_PER_SECOND, burst=UNKNOWN_BURST)
        self.stopping = False
        self._all: PhaseOrder[Member] = PhaseOrder()
        self._by_client: dict[str, PhaseOrder[Member]] = {}
        self._requests: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._all)

    def admit(self, connection: Member) -> None:
        """Add a new connection, and close another one if there are too many.

        If no other one can be closed, the new one is turned away. It stays in the table until its
        client has read the error, as the first to be closed when another connection arrives.
        """
        error = self._find_room(connection)
        self._place(connection, Phase.HEAD)
        if error is not None:
            connection.turn_away(error)

    def move(self, connection: Member, phase: Phase) -> None:
        """Record the new phase of a connection, if it is still in the table."""
        if connection in self._all:
            self._place(connection, phase)

    def discard(self, connection: Member) -> None:
        """Remove a connection if it is present."""
        for order in self._orders_of(connection):
            order.discard(connection)
        if connection.client_key and not self._by_client[connection.client_key]:
            del self._by_client[connection.client_key]
        CONNECTIONS.set(len(self._all))

    def key_of(self, peer: Address | None) -> str | None:
        """Return the client for which connections from `peer` are counted, None for no client."""
        return None if peer is None or peer in self._proxies else client_key(peer)

    def begin_request(self, peer: Address | None, forwarded_for: list[bytes]) -> str | None:
        """Count a request by its forwarded address if a trusted proxy sent it; return the key.

        Raises:
            HttpError: the address has too many concurrent requests.
        """
        if peer is None or peer not in self._proxies:
            return None
        key = client_key(self._proxies.find_client(peer, forwarded_for))
        if self._requests[key] >= self.limits.per_address:
            raise _too_many(HTTPStatus.TOO_MANY_REQUESTS, "address")
        self._requests[key] += 1
        return key

    def end_request(self, key: str) -> None:
        """Undo the count of `begin_request`."""
        self._requests[key] -= 1
        if not self._requests[key]:
            del self._requests[key]

    async def sweep_forever(self) -> None:
        """Check the deadlines of all connections periodically, until canceled."""
        while True:
            await asyncio.sleep(self.limits.sweep_seconds)
            now = monotonic()
            for number, connection in enumerate(self._all.list_all(), start=1):
                connection.check_deadlines(now)
                if number % CHECKED_AT_ONCE == 0:
                    await asyncio.sleep(0)  # requests must not wait for a thousand checks
            self.refused.flush(now)

    def _place(self, connection: Member, phase: Phase) -> None:
        for order in self._orders_of(connection):
            order.place(connection, phase)
        CONNECTIONS.set(len(self._all))

    def _orders_of(self, connection: Member) -> list[PhaseOrder[Member]]:
        if connection.client_key is None:
            return [self._all]
        return [self._all, self._by_client.setdefault(connection.client_key, PhaseOrder())]

    def _find_room(self, connection: Member) -> HttpError | None:
        for order in self._orders_of(connection)[1:]:
            if len(order) >= self.limits.per_address and not self._make_room(order, "address"):
                return _too_many(HTTPStatus.TOO_MANY_REQUESTS, "address")
        if len(self._all) >= self.limits.connections and not self._make_room(self._all, "capacity"):
            return _too_many(HTTPStatus.SERVICE_UNAVAILABLE, "capacity")
        return None

    def _make_room(self, order: PhaseOrder[Member], reason: str) -> bool:
        victim = order.find_least_valuable()
        if victim is None:
            return False
        self.discard(victim)
        self.refused.count(f"evicted_{reason}", monotonic())
        victim.evict()
        return True


def _too_many(status: HTTPStatus, reason: str) -> HttpError:
    origin = "all clients" if reason == "capacity" else "your address"
    return HttpError(status, reason, f"Too many connections of {origin}; retry in a few seconds.")
