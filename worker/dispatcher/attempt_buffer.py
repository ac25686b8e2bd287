"""Writing down what came of attempts to deliver: whatever ended meanwhile, in one statement."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Final

import structlog

from common.domain.delivery import DeliveryState
from common.postgres.database import Database, is_unavailable
from common.postgres.repositories.deliveries.claim import DueDelivery
from common.postgres.repositories.deliveries.record import (
    BreakerRules,
    DeliveryResult,
    RecordedAttempts,
    record_attempts,
)
from common.postgres.write_with_retry import write_with_retry
from common.runtime.clock import utc_now
from common.runtime.metrics import BREAKERS_OPENED, DELIVERIES, DELIVERY_SECONDS
from common.settings import WebhookSettings
from worker.dispatcher.schedule import Delivered, Discarded, Exhausted, Retry
from worker.dispatcher.sender import Attempt

FINAL: Final = {
    Delivered: DeliveryState.DELIVERED,
    Exhausted: DeliveryState.EXHAUSTED,
    Discarded: DeliveryState.DISCARDED,
}
LOST: Final = "lost"
RETRY: Final = "retry"
# One statement's at most: some milliseconds.
LARGEST_BATCH: Final = 200

log = structlog.get_logger(__name__)

_Waiting = tuple[DeliveryResult, "asyncio.Future[bool]"]


class AttemptBuffer:
    """Stores outcomes under their claims' fences, through a short absence of Postgres too.

    What ends while a statement is under way goes into the next: with one attempt at a time nothing
    waits, and with many an outcome costs little. `on_room` is called when a line has room again.
    """

    def __init__(
        self, database: Database, settings: WebhookSettings, on_room: Callable[[], None]
    ) -> None:
        self._database = database
        self._per_origin = settings.origin_concurrency
        self._rules = BreakerRules.of(settings)
        self._patience_seconds = settings.lease_seconds
        self._on_room = on_room
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Timeout] = set()

    def hurry(self, seconds: float) -> None:
        """From now on wait for Postgres so long at most; the lease makes good what is lost."""
        self._patience_seconds = min(self._patience_seconds, seconds)
        end = asyncio.get_running_loop().time() + self._patience_seconds
        for limit in self._under_way:
            if not limit.expired():
                limit.reschedule(min(end, limit.when() or end))

    async def aclose(self) -> None:
        """Give up what is still being written."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait({self._writing})

    async def record(self, due: DueDelivery, attempt: Attempt) -> None:
        """Store the attempt, or drop it where another dispatcher has taken the delivery over.

        Raises:
            Exception: Postgres stayed away for a whole lease, or for too long for a process that
                ends; the delivery will be sent again.
        """
        outcome = _outcome(due, attempt)
        async with asyncio.timeout(self._patience_seconds) as limit:
            self._under_way.add(limit)
            try:
                held = await self._written(outcome)
            finally:
                self._under_way.discard(limit)
        told = _told(outcome.state) if held else LOST
        DELIVERIES.labels(outcome=told).inc()
        DELIVERY_SECONDS.observe(attempt.log.duration.total_seconds())
        log.info(
            "delivery_attempted",
            outcome=told,
            status_code=attempt.log.status_code,
            error=attempt.log.error,
            duration_ms=round(attempt.log.duration.total_seconds() * 1000),
            failures=due.failures + (outcome.state is not DeliveryState.DELIVERED),
        )

    def _written(self, outcome: DeliveryResult) -> "asyncio.Future[bool]":
        loop = asyncio.get_running_loop()
        told: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((outcome, told))
        if self._writing is None or self._writing.done():
            # What it logs is about lines, not about the delivery that happened to come first.
            self._writing = loop.create_task(self._write(), context=Context())
        return told

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = (
                self._waiting[:LARGEST_BATCH],
                self._waiting[LARGEST_BATCH:],
            )
            try:
                await self._write_batch(batch)
            except Exception as error:  # noqa: BLE001 whoever waits is told
                for one in batch:
                    await self._write_alone(one, error, is_only=len(batch) == 1)

    async def _write_alone(self, one: _Waiting, error: Exception, *, is_only: bool) -> None:
        """Let no outcome be the trouble of those it was written with."""
        if not is_only and not is_unavailable(error):
            try:
                await self._write_batch([one])
            except Exception as its_own:  # noqa: BLE001 the same
                error = its_own
            else:
                return
        if not one[1].done():
            one[1].set_exception(error)

    async def _write_batch(self, batch: Sequence[_Waiting]) -> None:
        write = partial(
            record_attempts,
            outcomes=[outcome for outcome, _ in batch],
            per_origin=self._per_origin,
            rules=self._rules,
        )
        recorded = await write_with_retry(self._database, write, seconds=self._patience_seconds)
        for outcome, told in batch:
            if not told.done():  # who waited may have run out of patience
                told.set_result(outcome.claim in recorded.held)
        self._tell(recorded)

    def _tell(self, recorded: RecordedAttempts) -> None:
        for tenant_id, origin in recorded.opened:
            BREAKERS_OPENED.inc()
            log.warning("webhook_breaker_opened", tenant_id=tenant_id, origin=origin)
        if recorded.has_room:
            self._on_room()


def _outcome(due: DueDelivery, attempt: Attempt) -> DeliveryResult:
    decision = attempt.decision
    if isinstance(decision, Retry):
        seconds = (decision.at - utc_now()).total_seconds()
        state = DeliveryState.PENDING
    else:
        seconds, state = None, FINAL[type(decision)]
    return DeliveryResult(
        due.claim, state, attempt.log, wait_seconds=seconds, is_well=attempt.is_well
    )


def _told(state: DeliveryState) -> str:
    return RETRY if state is DeliveryState.PENDING else state.value
