"""Record delivery attempts; one statement records all attempts that end at the same time."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from common.domain.delivery import DeliveryState
from common.postgres.database import Database
from common.postgres.errors import is_unavailable
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
from common.runtime.write_buffer import WriteBuffer
from common.settings import WebhookSettings
from worker.dispatcher.schedule import Delivered, Discarded, Exhausted, Retry
from worker.dispatcher.sender import Attempt

FINAL_STATES: Final = {
    Delivered: DeliveryState.DELIVERED,
    Exhausted: DeliveryState.EXHAUSTED,
    Discarded: DeliveryState.DISCARDED,
}
LOST: Final = "lost"
RETRY: Final = "retry"
# Attempts in one statement, which then takes some milliseconds.
LARGEST_BATCH: Final = 200

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _PendingWrite:
    """A result to be written; the future `is_held` resolves to whether its claim is still held."""

    result: DeliveryResult
    is_held: "asyncio.Future[bool]"

    def fail(self, error: Exception) -> None:
        if not self.is_held.done():
            self.is_held.set_exception(error)


class AttemptBuffer:
    """Buffer that records delivery attempts in batches, each fenced by its claim.

    Writes are retried while Postgres is unavailable. `on_capacity` is called when an origin that
    was at its limit of concurrent deliveries can receive another one.
    """

    def __init__(
        self, database: Database, settings: WebhookSettings, on_capacity: Callable[[], None]
    ) -> None:
        self._database = database
        self._per_origin = settings.origin_concurrency
        self._rules = BreakerRules.from_settings(settings)
        self._patience_seconds = settings.lease_seconds
        self._on_capacity = on_capacity
        self._buffer = WriteBuffer(self._write, max_batch=LARGEST_BATCH)
        self._timeouts: set[asyncio.Timeout] = set()

    def shorten_patience(self, seconds: float) -> None:
        """Limit the wait for Postgres to `seconds` from now on, including writes already waiting.

        Attempts that cannot be recorded in time are lost; their deliveries are sent again later.
        """
        self._patience_seconds = min(self._patience_seconds, seconds)
        end = asyncio.get_running_loop().time() + self._patience_seconds
        for timeout in self._timeouts:
            if not timeout.expired():
                timeout.reschedule(min(end, timeout.when() or end))

    async def aclose(self) -> None:
        """Cancel the write in progress and drop the attempts that were not written."""
        await self._buffer.aclose()

    async def record(self, due: DueDelivery, attempt: Attempt) -> None:
        """Store `attempt`, or drop it if another dispatcher has claimed the delivery since.

        Raises:
            Exception: Postgres was unavailable for a whole lease, or, during shutdown, for a few
                seconds; the delivery will be sent again.
        """
        result = _to_result(due, attempt)
        async with asyncio.timeout(self._patience_seconds) as timeout:
            self._timeouts.add(timeout)
            try:
                held = await self._add(result)
            finally:
                self._timeouts.discard(timeout)
        outcome = _outcome_label(result.state) if held else LOST
        DELIVERIES.labels(outcome=outcome).inc()
        DELIVERY_SECONDS.observe(attempt.log.duration.total_seconds())
        log.info(
            "delivery_attempted",
            outcome=outcome,
            status_code=attempt.log.status_code,
            error=attempt.log.error,
            duration_ms=round(attempt.log.duration.total_seconds() * 1000),
            failures=due.failures + (result.state is not DeliveryState.DELIVERED),
        )

    def _add(self, result: DeliveryResult) -> "asyncio.Future[bool]":
        pending = _PendingWrite(result, asyncio.get_running_loop().create_future())
        self._buffer.add(pending)
        return pending.is_held

    async def _write(self, batch: list[_PendingWrite]) -> None:
        try:
            await self._write_batch(batch)
        except Exception as error:  # noqa: BLE001 passed on to all that wait for this write
            for pending in batch:
                await self._write_alone(pending, error, is_only=len(batch) == 1)

    async def _write_alone(
        self, pending: _PendingWrite, error: Exception, *, is_only: bool
    ) -> None:
        """Write one result of a failed batch separately, so that only the faulty result fails.

        `error` is the error of the batch. Fail the result with `error` at once if Postgres is
        unavailable or the batch contained only this result (`is_only`).
        """
        if not is_only and not is_unavailable(error):
            try:
                await self._write_batch([pending])
            except Exception as own_error:  # noqa: BLE001 the same
                error = own_error
            else:
                return
        pending.fail(error)

    async def _write_batch(self, batch: Sequence[_PendingWrite]) -> None:
        write = partial(
            record_attempts,
            outcomes=[pending.result for pending in batch],
            per_origin=self._per_origin,
            rules=self._rules,
        )
        recorded = await write_with_retry(self._database, write, seconds=self._patience_seconds)
        for pending in batch:
            if not pending.is_held.done():  # its caller's timeout may have expired
                pending.is_held.set_result(pending.result.claim in recorded.held)
        self._report(recorded)

    def _report(self, recorded: RecordedAttempts) -> None:
        for tenant_id, origin in recorded.opened_origins:
            BREAKERS_OPENED.inc()
            log.warning("webhook_breaker_opened", tenant_id=tenant_id, origin=origin)
        if recorded.has_capacity:
            self._on_capacity()


def _to_result(due: DueDelivery, attempt: Attempt) -> DeliveryResult:
    decision = attempt.decision
    if isinstance(decision, Retry):
        seconds = (decision.at - utc_now()).total_seconds()
        state = DeliveryState.PENDING
    else:
        seconds, state = None, FINAL_STATES[type(decision)]
    return DeliveryResult(
        due.claim, state, attempt.log, wait_seconds=seconds, is_healthy=attempt.is_healthy
    )


def _outcome_label(state: DeliveryState) -> str:
    return RETRY if state is DeliveryState.PENDING else state.value
