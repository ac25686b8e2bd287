"""The completion signal wakes waiting callers."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from structlog.testing import capture_logs

from common.messaging.completion import CHANNEL, CompletionListener, announce_ended
from tests.integration.messaging.listening import (
    DEADLINE_SECONDS,
    Rows,
    listening,
    wait_for_event,
    wait_for_signals,
    wait_for_subscription,
)


async def test_the_signal_wakes_all_callers_of_its_job_and_no_others(
    redis: Redis, rows: Rows
) -> None:
    ended, other = uuid4(), uuid4()
    async with listening(redis, rows) as listener:
        await wait_for_signals(redis, listener)
        rows.asked.clear()
        with (
            listener.expect(ended) as first,
            listener.expect(ended) as second,
            listener.expect(other) as bystander,
        ):
            await announce_ended(redis, ended)
            await wait_for_event(first)
            await wait_for_event(second)
            assert not bystander.is_set()
    assert not rows.asked.is_set(), "no row is read while Redis is available"


async def test_many_callers_share_one_subscription(redis: Redis, rows: Rows) -> None:
    prefixes = [uuid4() for _ in range(300)]
    async with listening(redis, rows) as listener, AsyncExitStack() as expected:
        await wait_for_subscription(redis)
        events = [expected.enter_context(listener.expect(prefix)) for prefix in prefixes]
        for prefix in prefixes:
            await announce_ended(redis, prefix)
        await asyncio.gather(*(wait_for_event(event) for event in events))
        assert await redis.pubsub_numsub(CHANNEL) == [(CHANNEL.encode(), 1)]


async def test_callers_that_left_are_removed(redis: Redis, rows: Rows) -> None:
    listener = CompletionListener(redis, rows.find_ended)
    prefix = uuid4()
    with listener.expect(prefix):
        with listener.expect(prefix), suppress(ValueError):
            raise ValueError
        assert set(listener._waiting) == {prefix}  # shows a leak
    assert not listener._waiting


async def test_a_job_that_ended_before_the_subscription_is_found_in_the_rows(
    redis: Redis, rows: Rows
) -> None:
    prefix = uuid4()
    rows.ended.add(prefix)
    async with listening(redis, rows) as listener:
        with listener.expect(prefix) as event:
            await wait_for_event(event)


async def test_an_invalid_signal_is_ignored(redis: Redis, rows: Rows) -> None:
    prefix = uuid4()
    with capture_logs() as logs:
        async with listening(redis, rows) as listener:
            await wait_for_subscription(redis)
            with listener.expect(prefix) as event:
                await redis.publish(CHANNEL, b"hello")
                await announce_ended(redis, uuid4())
                await announce_ended(redis, prefix)
                await wait_for_event(event)
    assert [entry["event"] for entry in logs] == ["signal_unreadable"]


async def test_an_idle_listener_makes_few_calls(
    redis: Redis, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silence longer than the client's timeout is no error and causes no query."""
    reads = 0
    get_message = PubSub.get_message

    async def counting(self: PubSub, **options: Any) -> object:
        nonlocal reads
        reads += 1
        return await get_message(self, **options)

    monkeypatch.setattr(PubSub, "get_message", counting)
    with capture_logs() as logs:
        async with listening(redis, rows):
            await wait_for_subscription(redis)
            before = reads
            # Idleness has no event to wait for; 0.4 s is the time-out.
            await asyncio.sleep(1.0)
            assert reads - before <= 4  # two a second: for a message, and for a ping's response
    assert logs == []


async def test_wake_all_wakes_waiting_and_later_callers(redis: Redis, rows: Rows) -> None:
    listener = CompletionListener(redis, rows.find_ended)
    with listener.expect(uuid4()) as before:
        listener.wake_all()
        assert before.is_set()
    with listener.expect(uuid4()) as after:
        assert after.is_set()


async def test_a_cancellation_that_the_client_swallows_ends_the_listener(
    redis: Redis, rows: Rows
) -> None:
    """The client may raise its own timeout in place of a cancellation."""
    listens = asyncio.Event()

    class Swallowing(CompletionListener):
        async def _listen(self) -> None:
            listens.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise TimeoutError from None

    task = asyncio.create_task(Swallowing(redis, rows.find_ended).run())
    await wait_for_event(listens)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, DEADLINE_SECONDS)
