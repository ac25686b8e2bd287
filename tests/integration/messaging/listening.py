"""A listener at work inside the test, and the rows it asks."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from redis.asyncio import Redis

from common.messaging.completion import CHANNEL, CompletionListener
from deploy.local.processes.readiness import wait_until_ready

DEADLINE_SECONDS = 30


class Rows:
    """The rows as the listener asks them: which of these jobs have ended?"""

    def __init__(self) -> None:
        self.ended: set[UUID] = set()
        self.asked = asyncio.Event()
        self.broken = False

    async def find_ended(self, prefixes: Collection[UUID]) -> set[UUID]:
        self.asked.set()
        if self.broken:
            raise ConnectionRefusedError
        return self.ended & set(prefixes)


@asynccontextmanager
async def listening(redis: Redis, rows: Rows) -> AsyncIterator[CompletionListener]:
    listener = CompletionListener(redis, rows.find_ended)
    task = asyncio.create_task(listener.run())
    try:
        yield listener
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def within_deadline(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), DEADLINE_SECONDS)


async def subscribed(redis: Redis) -> None:
    """Wait until Redis knows of a subscription."""

    async def known() -> bool:
        return (await redis.pubsub_numsub(CHANNEL))[0][1] > 0

    await wait_until_ready(known, "the subscription", DEADLINE_SECONDS)
