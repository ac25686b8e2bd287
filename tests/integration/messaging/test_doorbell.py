"""Rings: bounded in number, received, and harmless when Redis is unavailable."""

import asyncio
from contextlib import suppress

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from common.messaging.connection import CONNECTIONS, connect
from common.messaging.doorbell import DISPATCHER_LIST, Doorbell
from common.settings import RedisSettings
from deploy.local.processes.readiness import wait_until_ready
from deploy.local.servers.ports import LOOPBACK, free_port

QUEUE = "sd15-inpainting"


@pytest.fixture
def doorbell(redis: Redis, redis_settings: RedisSettings) -> Doorbell:
    return Doorbell(redis, redis_settings)


async def test_rings_are_bounded(doorbell: Doorbell, redis: Redis) -> None:
    assert all([await doorbell.ring_worker(QUEUE) for _ in range(9)])
    assert await redis.llen(QUEUE) == 5
    assert all([await doorbell.ring_dispatcher() for _ in range(9)])
    assert await redis.llen(DISPATCHER_LIST) == 5


async def test_more_rings_at_once_than_connections(redis: Redis, redis_url: str) -> None:
    # A long timeout, because the rings wait for each other's connections.
    settings = RedisSettings(url=SecretStr(redis_url), timeout_seconds=30, ring_limit=1000)
    async with connect(settings) as patient:
        doorbell = Doorbell(patient, settings)
        rings = await asyncio.gather(*(doorbell.ring_worker(QUEUE) for _ in range(400)))
    assert all(rings)
    assert await redis.llen(QUEUE) == 400
    assert (await redis.info("clients"))["connected_clients"] <= CONNECTIONS


async def test_no_two_rings_are_the_same_message(doorbell: Doorbell, redis: Redis) -> None:
    for _ in range(5):
        await doorbell.ring_worker(QUEUE)
    assert len(set(await redis.lrange(QUEUE, 0, -1))) == 5


@pytest.mark.parametrize(
    ("already", "wanted", "there"), [(0, 3, 3), (2, 3, 3), (3, 1, 3), (0, 9, 5), (0, 0, 0)]
)
async def test_rings_are_added_up_to_a_number(
    doorbell: Doorbell, redis: Redis, already: int, wanted: int, there: int
) -> None:
    for _ in range(already):
        await doorbell.ring_worker(QUEUE)
    await doorbell.ring_worker_up_to(QUEUE, wanted)
    assert await redis.llen(QUEUE) == there


async def test_one_wait_removes_all_rings(doorbell: Doorbell, redis: Redis) -> None:
    for _ in range(3):
        await doorbell.ring_dispatcher()
    assert await doorbell.wait_for_dispatcher_ring(30)
    assert await redis.exists(DISPATCHER_LIST) == 0
    assert not await doorbell.wait_for_dispatcher_ring(0.05)


async def test_a_ring_ends_the_wait(doorbell: Doorbell, redis: Redis) -> None:
    hearing = asyncio.create_task(doorbell.wait_for_dispatcher_ring(30))
    await blocked_clients(redis, 1)
    assert await doorbell.ring_dispatcher()
    assert await hearing


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.05, 5.0])
async def test_no_wait_exceeds_the_client_timeout(doorbell: Doorbell, seconds: float) -> None:
    """5 s is far longer than the timeout of 0.4 s, and to Redis 0 means to wait forever."""
    assert not await doorbell.wait_for_dispatcher_ring(seconds)


async def blocked_clients(redis: Redis, number: int) -> None:
    """Wait until Redis reports `number` blocked clients."""

    async def waiting() -> bool:
        return bool((await redis.info("clients"))["blocked_clients"] == number)

    await wait_until_ready(waiting, "the waiting client", 20)


async def test_a_flush_of_redis_scripts_loses_no_ring(doorbell: Doorbell, redis: Redis) -> None:
    assert await doorbell.ring_worker(QUEUE)
    await redis.script_flush()
    assert await doorbell.ring_worker(QUEUE)
    assert await redis.llen(QUEUE) == 2


async def assert_rings_are_lost(url: str) -> None:
    settings = RedisSettings(url=SecretStr(url), timeout_seconds=0.2)
    async with asyncio.timeout(20), connect(settings) as unavailable:
        doorbell = Doorbell(unavailable, settings)
        with capture_logs() as logs:
            assert not await doorbell.ring_worker(QUEUE)
            assert not await doorbell.ring_dispatcher()
            await doorbell.ring_worker_up_to(QUEUE, 2)
        with pytest.raises(RedisError):
            await doorbell.wait_for_dispatcher_ring(0.1)
    assert [entry["event"] for entry in logs] == ["ring_lost"] * 3
    assert [entry["queue"] for entry in logs] == [QUEUE, DISPATCHER_LIST, QUEUE]


async def test_an_outage_of_redis_is_logged_not_raised() -> None:
    await assert_rings_are_lost(f"redis://{LOOPBACK}:{free_port()}/0")


async def test_a_redis_that_does_not_respond_times_out() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, LOOPBACK, 0) as server:
        port = server.sockets[0].getsockname()[1]
        await assert_rings_are_lost(f"redis://{LOOPBACK}:{port}/0")


async def test_a_dead_connection_in_the_pool_loses_no_ring(
    doorbell: Doorbell, redis: Redis
) -> None:
    """After a restart of Redis the first ring must not be lost to a stale connection."""
    assert await doorbell.ring_worker(QUEUE)
    with suppress(RedisConnectionError):  # it ends its own connection too
        await redis.client_kill_filter(_type="normal", skipme=False)
    assert await doorbell.ring_worker(QUEUE)
