"""A long outage of Redis: the same process receives rings again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.settings import RedisSettings
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import free_port
from deploy.local.servers.redis import RedisServer
from tests.conftest import require_server_wheels
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.integration.worker.lifecycle.test_listening import SELDOM, wait_for_listener
from tests.integration.worker.lifecycle.test_process import assert_clean_exit, working
from tests.support.tcp_proxy import Proxy, proxy


@pytest.fixture
def server(tmp_path: Path) -> RedisServer:
    require_server_wheels()
    return RedisServer(tmp_path, free_port())


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[Redis]:
    async with connect(RedisSettings(url=SecretStr(server.url()))) as client:
        yield client


async def wait_for_reconnects(redis_proxy: Proxy, times: int) -> None:
    """Wait until it has tried to reach Redis `times` more."""
    expected = redis_proxy.connections + times
    async with asyncio.timeout(30):
        while redis_proxy.connections < expected:  # noqa: ASYNC110 - a connection sets no event
            await asyncio.sleep(0)


async def test_a_worker_receives_rings_again_when_redis_comes_back_empty(
    harness: WorkerHarness,
    environment: dict[str, str],
    server: RedisServer,
    client: Redis,
    tmp_path: Path,
) -> None:
    doorbell = Doorbell(client, RedisSettings())
    async with Supervisor(tmp_path / "logs") as supervisor, proxy(server.port) as redis_proxy:
        await server.prepare()
        await supervisor.start(server.child())
        through_proxy = {"INFILL_REDIS_URL": f"redis://127.0.0.1:{redis_proxy.port}/0"}
        async with working(environment | SELDOM | through_proxy) as program:
            await wait_for_listener(client)
            await supervisor.stop_all()
            await program.wait_for_event("dependency_unavailable")
            # With Celery's own pauses, of 2, 4, 6, 8, 10 and 12 seconds, this takes too long.
            await wait_for_reconnects(redis_proxy, 6)
            await supervisor.start(server.child())
            await program.wait_for_event("dependency_available")
            await wait_for_listener(client)
            await harness.queue_inpaint()
            assert await doorbell.ring_worker("one")
            await program.wait_for_event("job_succeeded")
            program.process.terminate()
            await assert_clean_exit(program, harness)
