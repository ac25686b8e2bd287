"""Redis from its wheel."""

import socket
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from common.domain.errors import ConfigurationError
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.servers.redis import RedisServer
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
    assert [file.name for file in (tmp_path / "redis").iterdir()] == ["redis.conf"]


async def test_redis_with_a_password_serves_nobody_else(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, free_port(), password="word")
    async with Supervisor(tmp_path / "logs") as supervisor:
        await parts.start(supervisor, server)
        async with Redis.from_url(f"redis://{LOOPBACK}:{server.port}") as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
        async with Redis.from_url(server.url()) as client:
            assert await client.set("a", "b")
            for command in ("CONFIG SET dir /tmp", "SAVE", "MODULE LIST", "REPLICAOF NO ONE"):
                with pytest.raises(NoPermissionError):
                    await client.execute_command(*command.split())  # type: ignore[no-untyped-call]


async def test_only_the_owner_can_read_what_the_server_has(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, free_port(), password="word")
    async with Supervisor(tmp_path / "logs") as supervisor:
        await parts.start(supervisor, server)
        modes = {
            path.name: path.stat().st_mode & 0o777
            for path in (tmp_path / "redis", tmp_path / "logs", *tmp_path.glob("*/*"))
        }
    assert modes == {"redis": 0o700, "logs": 0o700, "redis.conf": 0o600, "redis.log": 0o600}


async def test_a_used_port_is_named(tmp_path: Path) -> None:
    server = parts.redis(tmp_path)
    rejected = pytest.raises(ConfigurationError, match=f"Redis cannot listen on .*:{server.port}")
    with socket.create_server((LOOPBACK, server.port)), rejected:
        await server.prepare()
