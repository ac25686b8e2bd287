"""The life of a webhook delivery, in one screen."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID


class DeliveryState(StrEnum):
    """Where a delivery is; each comment says who moves it on."""

    PENDING = "pending"  # due at available_at; a dispatcher's claim moves it on
    SENDING = "sending"  # claimed under a lease; its dispatcher ends it, the sweeper takes it back
    DELIVERED = "delivered"  # final; the receiver answered 2xx
    EXHAUSTED = "exhausted"  # final; the schedule ended without a 2xx
    DISCARDED = "discarded"  # final; the receiver answered 410, or the address is not allowed


TRANSITIONS: Final[dict[DeliveryState, frozenset[DeliveryState]]] = {
    DeliveryState.PENDING: frozenset({DeliveryState.SENDING}),
    DeliveryState.SENDING: frozenset(
        {
            DeliveryState.PENDING,
            DeliveryState.DELIVERED,
            DeliveryState.EXHAUSTED,
            DeliveryState.DISCARDED,
        }
    ),
    DeliveryState.DELIVERED: frozenset(),
    DeliveryState.EXHAUSTED: frozenset(),
    DeliveryState.DISCARDED: frozenset(),
}


class Event(StrEnum):
    """What a webhook tells."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"


def sources(target: DeliveryState) -> frozenset[DeliveryState]:
    """Give the states a delivery may come from to reach `target`."""
    return frozenset(state for state, following in TRANSITIONS.items() if target in following)


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    """The right to send one delivery: valid while the row still carries this attempt, sending."""

    delivery_id: UUID
    attempt: int
