"""Callers that wait are woken: by the signal, or else by the rows."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from structlog.testing import capture_logs

from common.broker.completion import CHANNEL, CompletionListener, announce_ended
from common.broker.connection import connect
from common.settings import RedisSettings
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.processes import Supervisor
from deploy.local.readiness import until_ready
from deploy.local.redis import RedisServer
from tests.conftest import Servers
from tests.tcp_proxy import proxy

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


@pytest.fixture
def rows() -> Rows:
    return Rows()


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

    await until_ready(known, "the subscription", DEADLINE_SECONDS)


async def test_the_signal_wakes_all_who_wait_for_a_job_and_nobody_else(
    redis: Redis, rows: Rows
) -> None:
    ended, other = uuid4(), uuid4()
    async with listening(redis, rows) as listener:
        await subscribed(redis)
        with (
            listener.expect(ended) as first,
            listener.expect(ended) as second,
            listener.expect(other) as bystander,
        ):
            await announce_ended(redis, ended)
            await within_deadline(first)
            await within_deadline(second)
            assert not bystander.is_set()
    assert not rows.asked.is_set(), "no row is read while Redis is there"


async def test_many_wait_over_one_subscription(redis: Redis, rows: Rows) -> None:
    prefixes = [uuid4() for _ in range(300)]
    async with listening(redis, rows) as listener, AsyncExitStack() as expected:
        await subscribed(redis)
        events = [expected.enter_context(listener.expect(prefix)) for prefix in prefixes]
        for prefix in prefixes:
            await announce_ended(redis, prefix)
        await asyncio.gather(*(within_deadline(event) for event in events))
        assert await redis.pubsub_numsub(CHANNEL) == [(CHANNEL.encode(), 1)]


async def test_nothing_is_kept_of_callers_that_left(redis: Redis, rows: Rows) -> None:
    listener = CompletionListener(redis, rows.find_ended)
    prefix = uuid4()
    with listener.expect(prefix):
        with listener.expect(prefix), suppress(ValueError):
            raise ValueError
        assert set(listener._waiting) == {prefix}  # what a leak would show in
    assert not listener._waiting


async def test_a_job_that_ended_before_the_subscription_is_found_in_the_rows(
    redis: Redis, rows: Rows
) -> None:
    prefix = uuid4()
    rows.ended.add(prefix)
    async with listening(redis, rows) as listener:
        with listener.expect(prefix) as event:
            await within_deadline(event)


async def test_what_is_not_a_signal_does_no_harm(redis: Redis, rows: Rows) -> None:
    prefix = uuid4()
    with capture_logs() as logs:
        async with listening(redis, rows) as listener:
            await subscribed(redis)
            with listener.expect(prefix) as event:
                await redis.publish(CHANNEL, b"hello")
                await announce_ended(redis, uuid4())
                await announce_ended(redis, prefix)
                await within_deadline(event)
    assert [entry["event"] for entry in logs] == ["completion_signal_not_understood"]


async def test_an_idle_listener_sleeps(
    redis: Redis, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silence longer than the time-out of Redis is neither an error nor a reason to look."""
    reads = 0
    get_message = PubSub.get_message

    async def counting(self: PubSub, **options: Any) -> object:
        nonlocal reads
        reads += 1
        return await get_message(self, **options)

    monkeypatch.setattr(PubSub, "get_message", counting)
    with capture_logs() as logs:
        async with listening(redis, rows):
            await subscribed(redis)
            before = reads
            # Idleness has no event to wait for; 0.4 s is the time-out.
            await asyncio.sleep(1.0)
            assert reads - before <= 4  # two a second: for a message, and for an answer
    assert logs == []


async def test_a_listener_without_redis_asks_the_rows_again_and_again(rows: Rows) -> None:
    settings = RedisSettings(url=SecretStr(f"redis://{LOOPBACK}:{free_port()}/0"))
    prefix = uuid4()
    rows.broken = True
    async with connect(settings) as away, listening(away, rows) as listener:
        await announce_ended(away, prefix)  # says so in the log, and raises nothing
        with listener.expect(prefix) as event:
            await within_deadline(rows.asked)
            assert not event.is_set()
            rows.broken = False
            rows.ended.add(prefix)
            await within_deadline(event)


async def test_a_restart_of_redis_costs_nobody_the_answer(rows: Rows, tmp_path: Path) -> None:
    server = RedisServer(tmp_path, free_port())
    await server.prepare()
    settings = RedisSettings(url=SecretStr(server.url()))
    during, after = uuid4(), uuid4()
    async with (
        Supervisor(tmp_path / "logs") as supervisor,
        connect(settings) as redis,
        connect(settings) as speaker,
        listening(redis, rows) as listener,
    ):
        await supervisor.start(server.child())
        await subscribed(speaker)
        await supervisor.stop_all()

        rows.asked.clear()
        with listener.expect(during) as event:
            await within_deadline(rows.asked)
            rows.ended.add(during)  # its signal finds no Redis
            await announce_ended(speaker, during)
            await within_deadline(event)

        await supervisor.start(server.child())
        await subscribed(speaker)
        with listener.expect(after) as event:
            await announce_ended(speaker, after)
            await within_deadline(event)


async def test_a_line_gone_dead_without_a_word_is_found_out(
    servers: Servers, redis: Redis, rows: Rows
) -> None:
    """No end of the connection is told: without a question of ours it would be listened to."""
    during, after = uuid4(), uuid4()
    async with proxy(servers.redis.port) as line:
        settings = RedisSettings(
            url=SecretStr(f"redis://{LOOPBACK}:{line.port}/0"), timeout_seconds=0.4
        )
        async with connect(settings) as listener_redis, listening(listener_redis, rows) as listener:
            await subscribed(redis)
            line.stall()
            with listener.expect(during) as event:
                rows.ended.add(during)
                await announce_ended(redis, during)
                await within_deadline(event)
            line.resume()
            line.cut()
            with listener.expect(after) as event:

                async def heard() -> bool:
                    # Redis may still count the dead line's subscription: nothing else tells us.
                    await announce_ended(redis, after)
                    return event.is_set()

                await until_ready(heard, "a signal over a new line", DEADLINE_SECONDS)


async def test_let_go_everybody_is_woken_and_nobody_waits_any_more(
    redis: Redis, rows: Rows
) -> None:
    listener = CompletionListener(redis, rows.find_ended)
    with listener.expect(uuid4()) as before:
        listener.let_go()
        assert before.is_set()
    with listener.expect(uuid4()) as after:
        assert after.is_set()


async def test_what_was_missed_while_the_connection_was_down_is_found_on_return(
    redis: Redis, rows: Rows
) -> None:
    prefix = uuid4()
    async with listening(redis, rows) as listener:
        await subscribed(redis)
        with listener.expect(prefix) as event:
            assert not rows.asked.is_set()
            rows.ended.add(prefix)  # nobody announces it
            await redis.client_kill_filter(_type="pubsub")
            await within_deadline(event)
        await subscribed(redis)


async def test_a_cancellation_the_client_swallows_ends_the_listening(
    redis: Redis, rows: Rows
) -> None:
    """The client may answer a cancellation that meets its own time-out with the time-out."""
    listens = asyncio.Event()

    class Swallowing(CompletionListener):
        async def _listen(self) -> None:
            listens.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise TimeoutError from None

    task = asyncio.create_task(Swallowing(redis, rows.find_ended).run())
    await within_deadline(listens)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, DEADLINE_SECONDS)
