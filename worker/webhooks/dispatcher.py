"""The dispatcher's loop: look for due deliveries when rung or when time is up, and send them."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from common.broker.doorbell import Doorbell
from common.database import Database
from common.presence import Presence
from common.repositories.deliveries import DueDelivery, claim_deliveries
from common.settings import WebhookSettings
from worker.rest import rest
from worker.webhooks.recorder import Recorder
from worker.webhooks.sender import Sender

# Between two tries to reach Postgres: the first at once, then doubling.
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 1.0
# How long an ending process waits for Postgres to take the outcome of a finished attempt.
LAST_PATIENCE_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Dispatcher:
    """Keeps up to `concurrency` attempts under way; each is a task that fails alone.

    A ring says that something is due. Without rings the rows are asked every `poll_seconds`:
    that finds what was rung for while Redis was away, and what has become due again.
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
        self._doorbell = doorbell
        self._sender = sender
        self._recorder = Recorder(database, settings)
        self._settings = settings
        self._name = name
        self._under_way: set[asyncio.Task[None]] = set()
        self._postgres = Presence("postgres")
        self._redis = Presence("redis")
        self._pause_seconds = FIRST_PAUSE_SECONDS

    async def check(self) -> None:
        """Make sure that the last look at the rows succeeded; costs nothing.

        Raises:
            ConnectionError: it did not.
        """
        if not self._postgres.there:
            raise ConnectionError("Postgres is away")

    async def run(self, stopping: asyncio.Event) -> None:
        """Send what is due until `stopping` is set, then finish the attempts under way."""
        stop = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                if await self._start_due():
                    await self._until_worth_a_look(stop)
                else:
                    await rest(stopping, self._pause_seconds)
                    self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        finally:
            stop.cancel()
            self._recorder.hurry(LAST_PATIENCE_SECONDS)
            if self._under_way:
                log.info("finishing_deliveries", under_way=len(self._under_way))
                await asyncio.wait(self._under_way)

    async def _start_due(self) -> bool:
        """Start what is due, as far as there are free slots; False if Postgres is away."""
        while free := self._free_slots():
            batch = largest_batch(free)
            try:
                claimed = await self._claim(batch)
            except Exception as error:  # noqa: BLE001 whatever the trouble, the loop goes on
                self._postgres.missed(error)
                return False
            self._postgres.found()
            self._pause_seconds = FIRST_PAUSE_SECONDS
            for due in claimed:
                task = asyncio.create_task(self._deliver(due))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            if len(claimed) < batch:
                break
        return True

    async def _claim(self, limit: int) -> list[DueDelivery]:
        async with self._database.direct() as connection:
            return await claim_deliveries(
                connection,
                dispatcher=self._name,
                limit=limit,
                lease_seconds=self._settings.lease_seconds,
            )

    async def _deliver(self, due: DueDelivery) -> None:
        with bound_contextvars(
            job_id=due.job.id,
            tenant_id=due.job.tenant_id,
            delivery_id=str(due.claim.delivery_id),
            attempt=due.claim.attempt,
        ):
            try:
                await self._recorder.record(due, await self._sender.attempt(due))
            except Exception as error:  # noqa: BLE001 the lease runs out and it is sent again
                log.error("delivery_not_recorded", error=type(error).__name__)  # noqa: TRY400 - a trace would hold the row's values

    async def _until_worth_a_look(self, stop: asyncio.Task[bool]) -> None:
        if self._free_slots() == 0:
            # Rings are left for dispatchers that have room.
            await asyncio.wait({stop, *self._under_way}, return_when=asyncio.FIRST_COMPLETED)
            return
        rung = asyncio.create_task(self._until_rung(stop))
        await asyncio.wait({stop, rung}, return_when=asyncio.FIRST_COMPLETED)
        rung.cancel()
        with suppress(asyncio.CancelledError):
            await rung

    async def _until_rung(self, stop: asyncio.Task[bool]) -> None:
        try:
            await self._doorbell.heard_by_dispatcher(self._settings.poll_seconds)
        except (RedisError, OSError) as error:
            self._redis.missed(error)
            # Not a mere sleep: a cancellation that met the time-out of the Redis client is lost.
            await asyncio.wait({stop}, timeout=self._settings.poll_seconds)
        else:
            self._redis.found()

    def _free_slots(self) -> int:
        return self._settings.concurrency - len(self._under_way)


def largest_batch(free: int) -> int:
    """Round down to a power of two.

    The size of a batch is part of its statement's text, and Postgres parses each text anew: few
    sizes keep them all prepared.
    """
    return 1 << (free.bit_length() - 1)
