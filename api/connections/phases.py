"""What each connection is doing, and which one is worth least when one has to be closed."""

from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Phase(IntEnum):
    """What a connection is doing; the phase with the lowest number is closed first."""

    IDLE = 0  # between two requests
    DRAINING = 1  # the response is sent, the rest of the request is discarded
    HEAD = 2  # the head of a request is incomplete, or has not begun on a new connection
    BODY = 3  # the body of a request is incomplete
    WORKING = 4  # the whole request has been received; the response is not complete


CLOSABLE = (Phase.IDLE, Phase.DRAINING, Phase.HEAD, Phase.BODY)


class PhaseOrder(Generic[T]):
    """Connections by phase, in the order in which they entered it."""

    def __init__(self) -> None:
        self._phase_of: dict[T, Phase] = {}
        self._members: dict[Phase, dict[T, None]] = {phase: {} for phase in Phase}

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self._phase_of)

    def __contains__(self, connection: T) -> bool:
        """Return whether `connection` is one of them."""
        return connection in self._phase_of

    def list_all(self) -> list[T]:
        """Return all connections."""
        return list(self._phase_of)

    def place(self, connection: T, phase: Phase) -> None:
        """Add a connection, or move it to the end of another phase."""
        self.discard(connection)
        self._phase_of[connection] = phase
        self._members[phase][connection] = None

    def discard(self, connection: T) -> None:
        """Remove a connection if it is present."""
        phase = self._phase_of.pop(connection, None)
        if phase is not None:
            del self._members[phase][connection]

    def find_least_valuable(self) -> T | None:
        """Return the connection to close first; None if all have a complete request."""
        for phase in CLOSABLE:
            for connection in self._members[phase]:
                return connection
        return None
