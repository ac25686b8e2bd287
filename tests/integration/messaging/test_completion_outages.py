"""Waiting callers are woken by queries during an outage of Redis, and by signals after it."""

from pathlib import Path
from uuid import uuid4

from pydantic import SecretStr
from redis.asyncio import Redis

from common.messaging.completion import announce_ended
from common.messaging.connection import connect
from common.settings import RedisSettings
from deploy.local.processes.readiness import wait_until_ready
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.servers.redis import RedisServer
from tests.conftest import Servers
from tests.integration.messaging.listening import (
    DEADLINE_SECONDS,
    Rows,
    listening,
    wait_for_event,
    wait_for_subscription,
)
from tests.support.tcp_proxy import proxy


async def test_without_redis_the_listener_polls_postgres(rows: Rows) -> None:
    settings = RedisSettings(url=SecretStr(f"redis://{LOOPBACK}:{free_port()}/0"))
    prefix = uuid4()
    rows.broken = True
    async with connect(settings) as unavailable, listening(unavailable, rows) as listener:
        await announce_ended(unavailable, prefix)  # logs the loss and raises nothing
        with listener.expect(prefix) as event:
            await wait_for_event(rows.asked)
            assert not event.is_set()
            rows.broken = False
            rows.ended.add(prefix)
            await wait_for_event(event)


async def test_a_restart_of_redis_loses_no_wakeup(rows: Rows, tmp_path: Path) -> None:
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
        await wait_for_subscription(speaker)
        await supervisor.stop_all()

        rows.asked.clear()
        with listener.expect(during) as event:
            await wait_for_event(rows.asked)
            rows.ended.add(during)  # its signal finds no Redis
            await announce_ended(speaker, during)
            await wait_for_event(event)

        await supervisor.start(server.child())
        await wait_for_subscription(speaker)
        with listener.expect(after) as event:
            await announce_ended(speaker, after)
            await wait_for_event(event)


async def test_a_connection_that_dies_silently_is_detected(
    servers: Servers, redis: Redis, rows: Rows
) -> None:
    """The connection is never closed: only a ping shows that it is dead."""
    during, after = uuid4(), uuid4()
    async with proxy(servers.redis.port) as line:
        settings = RedisSettings(
            url=SecretStr(f"redis://{LOOPBACK}:{line.port}/0"), timeout_seconds=0.4
        )
        async with connect(settings) as listener_redis, listening(listener_redis, rows) as listener:
            await wait_for_subscription(redis)
            line.stall()
            with listener.expect(during) as event:
                rows.ended.add(during)
                await announce_ended(redis, during)
                await wait_for_event(event)
            line.resume()
            line.cut()
            with listener.expect(after) as event:

                async def heard() -> bool:
                    # Redis may still count the subscription of the dead connection.
                    await announce_ended(redis, after)
                    return event.is_set()

                await wait_until_ready(heard, "a signal over a new line", DEADLINE_SECONDS)


async def test_signals_missed_during_a_reconnection_are_replaced_by_a_query(
    redis: Redis, rows: Rows
) -> None:
    prefix = uuid4()
    async with listening(redis, rows) as listener:
        await wait_for_subscription(redis)
        with listener.expect(prefix) as event:
            assert not rows.asked.is_set()
            rows.ended.add(prefix)  # without a signal
            await redis.client_kill_filter(_type="pubsub")
            await wait_for_event(event)
        await wait_for_subscription(redis)
