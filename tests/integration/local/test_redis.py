"""Redis from its wheel."""

import socket
from pathlib import Path

import pytest
from redis.asyncio import Redis

from common.domain.errors import ConfigurationError
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK
from tests.integration.local import parts


async def test_redis_starts_again_without_data(tmp_path: Path) -> None:
    server = parts.redis(tmp_path)
    for _ in range(2):
        async with Supervisor(tmp_path / "logs") as supervisor:
            await parts.start(supervisor, server)
            async with Redis.from_url(server.url()) as client:
                assert await client.dbsize() == 0
                await client.set("left", "behind")
    assert not await server.is_ready()


async def test_redis_never_evicts_and_never_saves(tmp_path: Path) -> None:
    server = parts.redis(tmp_path)
    async with Supervisor(tmp_path / "logs") as supervisor:
        await parts.start(supervisor, server)
        async with Redis.from_url(server.url(3), decode_responses=True) as client:
            names = ("maxmemory-policy", "save", "appendonly", "bind")
            settings = {name: (await client.config_get(name))[name] for name in names}
    assert settings == {
        "maxmemory-policy": "noeviction",
        "save": "",
        "appendonly": "no",
        "bind": LOOPBACK,
    }
    assert list((tmp_path / "redis").iterdir()) == []


async def test_a_used_port_is_named(tmp_path: Path) -> None:
    server = parts.redis(tmp_path)
    rejected = pytest.raises(ConfigurationError, match=f"Redis cannot listen on .*:{server.port}")
    with socket.create_server((LOOPBACK, server.port)), rejected:
        await server.prepare()
