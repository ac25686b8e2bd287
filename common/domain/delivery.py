"""The life of a webhook delivery, in one screen."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID


class DeliveryState(StrEnum):
    """Where a delivery is; each comment says who moves it on."""

    PENDING = "pending"  # due at available_at; a dispatcher's claim moves it on
    SENDING = "sending"  # claimed under a lease; its dispatcher ends it, the sweeper takes it back
    # Ended; from here only their tenant moves them on, by asking for a redelivery.
    DELIVERED = "delivered"  # the receiver answered 2xx
    EXHAUSTED = "exhausted"  # the schedule ended without a 2xx
    DISCARDED = "discarded"  # the receiver wants no more of it, or the address is not allowed


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
    DeliveryState.DELIVERED: frozenset({DeliveryState.PENDING}),
    DeliveryState.EXHAUSTED: frozenset({DeliveryState.PENDING}),
    DeliveryState.DISCARDED: frozenset({DeliveryState.PENDING}),
}

# What an attempt can end a delivery in, and those of it that are no success.
ENDED: Final = frozenset(
    {DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.DISCARDED}
)
FAILED: Final = ENDED - {DeliveryState.DELIVERED}


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
