"""Redis that responds with an error is survived like one that is unavailable."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.settings import RedisSettings
from deploy.local.processes.supervisor import Supervisor
from tests.conftest import require_server_wheels
from tests.integration.local import parts
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.integration.worker.lifecycle.test_listening import SELDOM, wait_for_listener
from tests.integration.worker.lifecycle.test_process import assert_clean_exit, working
from tests.support.tcp_proxy import proxy

# The least rights of an account; docs/operations.md documents the same.
LEAST_RIGHTS = (
    "on",
    ">least-rights-password",
    "~*",
    "resetchannels",
    "&infill:*",
    "-@all",
    "+ping",
    "+select",
    "+multi",
    "+exec",
    "+eval",
    "+evalsha",
    "+script|load",
    "+llen",
    "+lpush",
    "+lpushx",
    "+blpop",
    "+brpop",
    "+del",
    "+expire",
    "+get",
    "+set",
    "+hset",
    "+hmget",
    "+time",
    "+publish",
    "+subscribe",
    "+unsubscribe",
)


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    require_server_wheels()
    async with Supervisor(tmp_path / "logs") as supervisor:
        yield supervisor


async def test_a_worker_receives_rings_again_after_a_read_only_redis(
    harness: WorkerHarness, environment: dict[str, str], supervisor: Supervisor, tmp_path: Path
) -> None:
    server = parts.redis(tmp_path)
    await parts.start(supervisor, server)
    async with Redis.from_url(server.url()) as admin:
        await admin.replicaof("127.0.0.1", "1")
        settings = environment | SELDOM | {"INFILL_REDIS_URL": server.url()}
        async with working(settings) as program:
            await program.wait_for_event("dependency_unavailable")
            await admin.replicaof("NO", "ONE")
            await program.wait_for_event("dependency_available")
            await ring_for_a_job(harness, server.url())
            await program.wait_for_event("job_succeeded")
            await admin.replicaof("127.0.0.1", "1")
            await program.wait_for_event("dependency_unavailable")
            program.process.terminate()
            await assert_clean_exit(program, harness)
    assert "Traceback" not in str(program.lines)


async def test_a_worker_waits_for_permission_and_needs_the_documented_rights_only(
    harness: WorkerHarness, environment: dict[str, str], supervisor: Supervisor, tmp_path: Path
) -> None:
    server = parts.redis(tmp_path)
    await parts.start(supervisor, server)
    url = server.url().replace("redis://", "redis://infill:least-rights-password@")
    async with Redis.from_url(server.url()) as admin:
        await set_rights(admin, *LEAST_RIGHTS, "-brpop")
        settings = environment | SELDOM | {"INFILL_REDIS_URL": url}
        async with working(settings) as program:
            await program.wait_for_event("dependency_unavailable")
            await set_rights(admin, *LEAST_RIGHTS)
            await wait_for_listener(admin)
            await ring_for_a_job(harness, url)
            await program.wait_for_event("job_succeeded")
            program.process.terminate()
            await assert_clean_exit(program, harness)
    assert "Traceback" not in str(program.lines)


async def test_a_failover_drops_the_pooled_connection(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """The address leads to the new primary, and the old connection to a read-only server."""
    first, second = parts.redis(tmp_path / "first"), parts.redis(tmp_path / "second")
    for server in (first, second):
        await parts.start(supervisor, server)
    async with (
        proxy(first.port) as address,
        Redis.from_url(first.url()) as old,
        Redis.from_url(second.url()) as new,
    ):
        settings = RedisSettings(url=SecretStr(f"redis://127.0.0.1:{address.port}/0"))
        async with connect(settings) as client:
            doorbell = Doorbell(client, settings)
            assert await doorbell.ring_worker("one")
            await old.replicaof("127.0.0.1", str(second.port))
            address.redirect(second.port)
            assert await doorbell.ring_worker("one")
        assert await new.llen("one") == 1


async def set_rights(admin: Redis, *rights: str) -> None:
    await admin.execute_command("ACL", "SETUSER", "infill", *rights)  # type: ignore[no-untyped-call]


async def ring_for_a_job(harness: WorkerHarness, url: str) -> None:
    await harness.queue_inpaint()
    settings = RedisSettings(url=SecretStr(url))
    async with connect(settings) as client:
        assert await Doorbell(client, settings).ring_worker("one")
