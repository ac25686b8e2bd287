"""Runs dispatchers inside the test and reads the rows they wrote."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis.asyncio import Redis
from sqlalchemy import select, text

from common.domain.delivery import DeliveryState
from common.messaging.doorbell import Doorbell
from common.object_store.storage import Storage
from common.outbound import Guard
from common.postgres.database import Database
from common.postgres.models import Delivery, DeliveryAttempt
from common.runtime.clock import utc_now
from common.settings import RedisSettings, WebhookSettings
from worker.dispatcher.dispatcher import Dispatcher
from worker.dispatcher.sender import Sender

# Polled often: tests of rings set their own.
SETTINGS = WebhookSettings(poll_seconds=0.05, timeout_seconds=5)


@dataclass(frozen=True, slots=True)
class Row:
    """The state of a delivery."""

    state: DeliveryState
    attempt: int
    failures: int
    available_at: datetime

    @property
    def due_in(self) -> float:
        return (self.available_at - utc_now()).total_seconds()


@dataclass(frozen=True, slots=True)
class DispatcherHarness:
    """The dependencies and settings of test dispatchers."""

    database: Database
    redis: Redis
    storage: Storage
    guard: Guard
    settings: WebhookSettings = SETTINGS
    key: Ed25519PrivateKey | None = None

    def replace(self, **changes: Any) -> "DispatcherHarness":
        return replace(self, **changes)

    def with_settings(self, **changes: Any) -> "DispatcherHarness":
        return replace(self, settings=self.settings.model_copy(update=changes))

    @property
    def doorbell(self) -> Doorbell:
        return Doorbell(self.redis, RedisSettings(timeout_seconds=1000))

    @asynccontextmanager
    async def dispatching(self) -> AsyncIterator[Dispatcher]:
        """Run a dispatcher while the block lasts; afterwards everything sent is recorded."""
        stopping = asyncio.Event()
        sender = Sender(self.guard, self.storage, self.settings, self.key)
        dispatcher = Dispatcher(self.database, self.doorbell, sender, self.settings, name="test")
        task = asyncio.create_task(dispatcher.run(stopping))
        try:
            yield dispatcher
        finally:
            stopping.set()
            await task

    async def row(self, delivery_id: UUID | None) -> Row:
        statement = select(
            Delivery.state, Delivery.attempt, Delivery.failures, Delivery.available_at
        ).where(Delivery.id == delivery_id)
        async with self.database.statement() as connection:
            return Row(*(await connection.execute(statement)).one())

    async def attempts(self, delivery_id: UUID | None) -> list[Any]:
        statement = (
            select(
                DeliveryAttempt.attempt,
                DeliveryAttempt.status_code,
                DeliveryAttempt.error,
                DeliveryAttempt.answer,
                DeliveryAttempt.duration_ms,
                DeliveryAttempt.next_attempt_at,
                DeliveryAttempt.ended_by,
            )
            .where(DeliveryAttempt.delivery_id == delivery_id)
            .order_by(DeliveryAttempt.id)
        )
        async with self.database.statement() as connection:
            return list(await connection.execute(statement))

    async def wait_for_attempt(self, delivery_id: UUID | None) -> Any:
        """Wait for the only attempt to be recorded, and return it."""
        async with asyncio.timeout(20):
            while not (attempts := await self.attempts(delivery_id)):
                pass  # each query waits for Postgres
        (attempt,) = attempts
        return attempt

    async def execute(self, statement: str) -> None:
        """Execute one SQL statement."""
        async with self.database.statement() as connection:
            await connection.execute(text(statement))

    async def expire(self, column: str) -> None:
        """Make every pending delivery due, or every lease run out."""
        async with self.database.statement() as connection:
            await connection.execute(
                text(f"UPDATE deliveries SET {column} = now() WHERE {column} IS NOT NULL")  # noqa: S608 - a column's name
            )
