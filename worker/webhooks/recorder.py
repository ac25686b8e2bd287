"""Writing down what came of an attempt to deliver."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from common.clock import utc_now
from common.database import Database
from common.direct import Executor
from common.domain.delivery import DeliveryState
from common.metrics import DELIVERIES, DELIVERY_SECONDS
from common.repositories.deliveries import DueDelivery, end_delivery, retry_delivery
from common.settings import WebhookSettings
from worker.patience import keep_trying
from worker.webhooks.schedule import Delivered, Discarded, Exhausted, Retry
from worker.webhooks.sender import Attempt

FINAL: Final = {
    Delivered: DeliveryState.DELIVERED,
    Exhausted: DeliveryState.EXHAUSTED,
    Discarded: DeliveryState.DISCARDED,
}
LOST: Final = "lost"

log = structlog.get_logger(__name__)


class Recorder:
    """Stores the outcome under the claim's fence, through a short absence of Postgres too."""

    def __init__(self, database: Database, settings: WebhookSettings) -> None:
        self._database = database
        self._patience_seconds = settings.lease_seconds
        self._under_way: set[asyncio.Timeout] = set()

    def hurry(self, seconds: float) -> None:
        """From now on wait for Postgres so long at most; the lease makes good what is lost."""
        self._patience_seconds = min(self._patience_seconds, seconds)
        end = asyncio.get_running_loop().time() + self._patience_seconds
        for limit in self._under_way:
            if not limit.expired():
                limit.reschedule(min(end, limit.when() or end))

    async def record(self, due: DueDelivery, attempt: Attempt) -> None:
        """Store the attempt, or drop it where another dispatcher has taken the delivery over.

        Raises:
            Exception: Postgres stayed away for a whole lease, or for too long for a process that
                ends; the delivery will be sent again.
        """
        write, outcome = _statement(due, attempt)
        async with asyncio.timeout(self._patience_seconds) as limit:
            self._under_way.add(limit)
            try:
                held = await keep_trying(self._database, write, seconds=self._patience_seconds)
            finally:
                self._under_way.discard(limit)
        DELIVERIES.labels(outcome=outcome if held else LOST).inc()
        DELIVERY_SECONDS.observe(attempt.log.duration.total_seconds())
        log.info(
            "delivery_attempted",
            outcome=outcome if held else LOST,
            status_code=attempt.log.status_code,
            error=attempt.log.error,
            duration_ms=round(attempt.log.duration.total_seconds() * 1000),
            failures=due.failures + (outcome != DeliveryState.DELIVERED),
        )


def _statement(
    due: DueDelivery, attempt: Attempt
) -> tuple[Callable[[Executor], Awaitable[bool]], str]:
    decision = attempt.decision
    if isinstance(decision, Retry):
        seconds = (decision.at - utc_now()).total_seconds()
        again = partial(retry_delivery, claim=due.claim, log=attempt.log, seconds=seconds)
        return again, "retry"
    state = FINAL[type(decision)]
    return partial(end_delivery, claim=due.claim, state=state, log=attempt.log), state.value
