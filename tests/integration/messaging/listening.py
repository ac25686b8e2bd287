"""A running completion listener, and a stand-in for the rows it queries."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

from redis.asyncio import Redis

from common.messaging.completion import CHANNEL, CompletionListener, announce_ended
from deploy.local.processes.readiness import wait_until_ready

DEADLINE_SECONDS = 30


class Rows:
    """Stand-in for the query for ended jobs."""

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


async def wait_for_event(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), DEADLINE_SECONDS)


async def wait_for_signals(redis: Redis, listener: CompletionListener) -> None:
    """Wait until the listener receives signals: Redis knows of it a moment earlier."""
    await wait_for_subscription(redis)
    prefix = uuid4()
    with listener.expect(prefix) as event:
        await announce_ended(redis, prefix)
        await wait_for_event(event)


async def wait_for_subscription(redis: Redis) -> None:
    """Wait until Redis has a subscription."""

    async def known() -> bool:
        return (await redis.pubsub_numsub(CHANNEL))[0][1] > 0

    await wait_until_ready(known, "the subscription", DEADLINE_SECONDS)
