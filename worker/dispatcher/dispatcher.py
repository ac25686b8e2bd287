"""The dispatcher's loop: wait for a wakeup, claim due deliveries, send them."""

import asyncio
import math
import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

import structlog
from structlog.contextvars import bound_contextvars

from common.messaging.doorbell import Doorbell
from common.postgres.database import Database
from common.postgres.repositories.deliveries.claim import (
    ClaimedDeliveries,
    DueDelivery,
    claim_deliveries,
)
from common.postgres.repositories.deliveries.origins import mark_due_dispatches, recheck_origins
from common.runtime.asyncio_tools import wait_for_event
from common.runtime.availability import Availability
from common.runtime.metrics import DELIVERIES_SENDING
from common.settings import WebhookSettings
from worker.dispatcher.attempt_buffer import AttemptBuffer
from worker.dispatcher.sender import Sender
from worker.dispatcher.wakeup import Wakeup

# Between two tries to reach Postgres: the first at once, then doubling.
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 1.0
# How long an ending process waits for Postgres to record a finished attempt.
LAST_PATIENCE_SECONDS: Final = 5.0
# Small enough that a backlog is claimed no faster than it is sent: the result of a claim waits on
# the event loop behind the attempts of earlier claims.
LARGEST_BATCH: Final = 32
# After an outage thousands of retries are due: a first attempt waits behind few of them.
LARGEST_RETRY_BATCH: Final = 8
# Claims that found only tenants locked by other dispatchers, which takes milliseconds.
MOST_TRIES: Final = 50
LONGEST_WAIT_SECONDS: Final = 0.008

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StartedBatch:
    """Result of one claim: deliveries started, whether more are due, and whether slots ran out."""

    started: int = 0
    has_more: bool = False
    is_out_of_slots: bool = False


class Dispatcher:
    """Sends due deliveries, up to `concurrency` at the same time, each in its own task.

    A share of the slots is reserved for first attempts. A tenant that has as many deliveries in
    progress as there are free slots is skipped: if the receivers of one tenant hang, it occupies at
    most half of the slots; two such tenants occupy at most a third each, and so on.
    """

    def __init__(
        self,
        database: Database,
        doorbell: Doorbell,
        sender: Sender,
        settings: WebhookSettings,
        *,
        name: str,
    ) -> None:
        self._database = database
        self._sender = sender
        self._settings = settings
        self._name = name
        self._reserved = math.floor(settings.concurrency * settings.first_attempt_share)
        self._wakeup = Wakeup(doorbell, settings.poll_seconds)
        self._attempt_buffer = AttemptBuffer(database, settings, self._wakeup.wake)
        self._under_way: set[asyncio.Task[None]] = set()
        self._tenant_counts: Counter[int] = Counter()
        self._skipped_tenants = False
        self._has_more = False
        self._postgres = Availability("postgres")
        self._pause_seconds = FIRST_PAUSE_SECONDS

    async def check_ready(self) -> None:
        """Check, without a query, that the last claim reached Postgres.

        Raises:
            ConnectionError: the last claim did not reach Postgres.
        """
        if not self._postgres.is_available:
            raise ConnectionError("Postgres is unavailable")

    async def run(self, stopping: asyncio.Event) -> None:
        """Send due deliveries until `stopping` is set, then finish the attempts in progress."""
        stop = asyncio.create_task(stopping.wait())
        listening = asyncio.create_task(self._wakeup.listen(stop))
        try:
            while not stopping.is_set():
                if await self._start_due():
                    await self._wakeup.wait(stop, has_slots=self._free_slots() > 0)
                else:
                    await wait_for_event(stopping, self._pause_seconds)
                    self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        finally:
            stop.cancel()
            self._attempt_buffer.shorten_patience(LAST_PATIENCE_SECONDS)
            if self._under_way:
                log.info("finishing_deliveries", under_way=len(self._under_way))
                await asyncio.wait(self._under_way)
            await self._attempt_buffer.aclose()
            await asyncio.wait({listening})

    async def _start_due(self) -> bool:
        """Start due deliveries in the free slots; return False if an error occurred, else True."""
        self._wakeup.clear()
        try:
            await self._refresh_due()
            self._has_more = await self._start()
        except Exception as error:  # noqa: BLE001 the loop goes on after any error
            self._postgres.mark_unavailable(error)
            return False
        return True

    async def _refresh_due(self) -> None:
        """Mark tenants with newly due deliveries; check origins again that had none due before."""
        if self._wakeup.take_poll():
            async with self._database.direct() as connection:
                await mark_due_dispatches(connection)
        if rechecks := self._wakeup.take_rechecks():
            async with self._database.direct() as connection:
                await recheck_origins(connection, rechecks)

    async def _start(self) -> bool:
        """Start batches of first attempts and retries in turn; return whether more may be due.

        The batches alternate so that a first attempt waits for at most one batch of retries.
        """
        tries = 0
        while tries < MOST_TRIES:
            self._skipped_tenants = False
            first = await self._start_batch(self._free_slots(), retries=False)
            retry = await self._start_batch(self._free_slots() - self._reserved, retries=True)
            if not (first.has_more or retry.has_more):
                return self._skipped_tenants or first.is_out_of_slots or retry.is_out_of_slots
            if not (first.started or retry.started):
                tries += 1
                await asyncio.sleep(random.uniform(0, LONGEST_WAIT_SECONDS))  # noqa: S311 guards nothing
        return True

    async def _start_batch(self, free: int, *, retries: bool) -> StartedBatch:
        if free <= 0:
            return StartedBatch(is_out_of_slots=True)
        most = LARGEST_RETRY_BATCH if retries else LARGEST_BATCH
        due = await self._claim(min(largest_batch(free), most), retries=retries)
        self._postgres.mark_available()
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._wakeup.recheck_later(due.origins_to_recheck)
        for delivery in due.deliveries:
            self._start_delivery(delivery)
        return StartedBatch(started=len(due.deliveries), has_more=due.has_more)

    async def _claim(self, limit: int, *, retries: bool) -> ClaimedDeliveries:
        most = max(self._free_slots(), LARGEST_BATCH)
        skipped = [id_ for id_, number in self._tenant_counts.items() if number >= most]
        self._skipped_tenants |= bool(skipped)
        async with self._database.direct() as connection:
            return await claim_deliveries(
                connection,
                dispatcher=self._name,
                limit=limit,
                lease_seconds=self._settings.lease_seconds,
                per_origin=self._settings.origin_concurrency,
                retries=retries,
                skip_tenants=skipped,
            )

    def _start_delivery(self, due: DueDelivery) -> None:
        tenant_id = due.job.tenant_id
        self._tenant_counts[tenant_id] += 1
        task = asyncio.create_task(self._deliver(due))
        self._under_way.add(task)
        DELIVERIES_SENDING.set(len(self._under_way))

        def ended(_: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            DELIVERIES_SENDING.set(len(self._under_way))
            self._tenant_counts[tenant_id] -= 1
            if not self._tenant_counts[tenant_id]:
                del self._tenant_counts[tenant_id]
            if self._has_more:
                self._wakeup.wake()

        task.add_done_callback(ended)

    async def _deliver(self, due: DueDelivery) -> None:
        with bound_contextvars(
            job_id=due.job.id,
            tenant_id=due.job.tenant_id,
            delivery_id=str(due.claim.delivery_id),
            attempt=due.claim.attempt,
        ):
            try:
                await self._attempt_buffer.record(due, await self._sender.send(due))
            except Exception as error:  # noqa: BLE001 sent again when the lease expires
                log.error("delivery_not_recorded", error=type(error).__name__)  # noqa: TRY400 - a trace would hold the row's values

    def _free_slots(self) -> int:
        return self._settings.concurrency - len(self._under_way)


def largest_batch(free: int) -> int:
    """Round the number of free slots `free` (at least 1) down to a power of two.

    The batch size is part of the SQL text, and each connection prepares each text separately. With
    only a few different sizes, all of these statements stay prepared.
    """
    return 1 << (free.bit_length() - 1)
