"""The local Postgres keeps its data, recovers from crashes, and explains errors."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from common.domain.errors import ConfigurationError
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.cluster import create_cluster, wait_for_release
from deploy.local.servers.ports import LOOPBACK
from deploy.local.servers.postgres import PostgresServer
from tests.conftest import Servers
from tests.integration.local import parts

PASSAGE = 1 << 1  # CAP_DAC_OVERRIDE


async def query(server: PostgresServer, statement: str) -> object:
    connection = await asyncpg.connect(server.url())
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_data_outlive_a_restart(tmp_path: Path) -> None:
    server = parts.postgres(tmp_path)
    async with Supervisor(tmp_path / "logs") as supervisor:
        await parts.start(supervisor, server)
        await server.ensure_database()
        await query(server, "CREATE TABLE kept AS SELECT 7 AS number")
    async with Supervisor(tmp_path / "logs") as supervisor:
        await parts.start(supervisor, server)
        await server.ensure_database()
        assert await query(server, "SELECT number FROM kept") == 7
    assert "not properly shut down" not in (tmp_path / "logs" / "postgres.log").read_text()


async def test_data_outlive_a_kill(tmp_path: Path) -> None:
    server = replace(parts.postgres(tmp_path), durable=True)
    async with Supervisor(tmp_path / "logs") as supervisor:
        pid = await parts.start(supervisor, server)
        await server.ensure_database()
        await query(server, "CREATE TABLE kept AS SELECT 7 AS number")
        with parts.watched(parts.descendants(pid)) as backends:
            os.kill(pid, signal.SIGKILL)
            exited = await supervisor.wait_for_exit()
            assert await parts.all_ended(backends)
        assert exited.summary == "postgres was ended by SIGKILL"
    assert (server.data / "postmaster.pid").exists()
    async with Supervisor(tmp_path / "logs") as supervisor:
        await parts.start(supervisor, server)
        assert await query(server, "SELECT number FROM kept") == 7


async def test_a_stale_lock_naming_a_living_program_does_not_matter(tmp_path: Path) -> None:
    server = parts.postgres(tmp_path)
    await server.prepare()
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")
    async with Supervisor(tmp_path / "logs") as supervisor:
        await parts.start(supervisor, server)
        assert await server.is_ready()


async def test_a_lock_that_cannot_be_read_is_left_to_postgres(tmp_path: Path) -> None:
    lock = tmp_path / "postmaster.pid"
    lock.touch()
    await wait_for_release(tmp_path)
    assert lock.exists()


async def test_a_running_server_is_not_started_twice(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.servers.cluster.RELEASE_SECONDS", 0.1)
    with pytest.raises(ConfigurationError, match="still running"):
        await servers.postgres.prepare()
    assert await servers.postgres.is_ready()


async def test_a_used_port_is_named(tmp_path: Path) -> None:
    server = parts.postgres(tmp_path)
    rejected = pytest.raises(
        ConfigurationError, match=f"Postgres cannot listen on .*:{server.port}"
    )
    with socket.create_server((LOOPBACK, server.port)), rejected:
        await server.prepare()


async def test_another_password_is_a_readable_error(servers: Servers) -> None:
    mistaken = replace(servers.postgres, password="wrong")
    with pytest.raises(ConfigurationError, match="created with another password"):
        await mistaken.is_ready()


@pytest.mark.parametrize(("mark", "found"), [("17\n", "17"), (None, "unknown")])
async def test_data_of_another_version_is_rejected(
    tmp_path: Path, mark: str | None, found: str
) -> None:
    server = parts.postgres(tmp_path)
    server.data.mkdir()
    if mark:
        (server.data / "PG_VERSION").write_text(mark)
    with pytest.raises(ConfigurationError, match=f"Postgres version {found}, .* runs version 18"):
        await server.prepare()


async def test_data_of_another_account_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = parts.postgres(tmp_path)
    server.data.mkdir()

    def fail(_: Path) -> str:
        raise PermissionError

    # These tests may run as root, which no file permission stops.
    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(ConfigurationError, match="belongs to another account"):
        await server.prepare()


@pytest.mark.parametrize(("mode", "rights"), [(0o755, 0), (0o700, PASSAGE)])
async def test_postgres_has_no_more_rights_than_needed(mode: int, rights: int) -> None:
    with home_below(mode) as home:
        async with Supervisor(home / "logs") as supervisor:
            status = status_of(await parts.start(supervisor, parts.postgres(home)))
    expected = rights if os.geteuid() == 0 else 0
    assert "0" not in status["Uid"].split()
    assert (int(status["CapEff"], 16), int(status["CapPrm"], 16)) == (expected, expected)


@contextmanager
def home_below(mode: int) -> Iterator[Path]:
    """Yield a home below a folder with that mode; those above `tmp_path` are always closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(mode)
        yield Path(folder) / "home"


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


async def test_an_interrupted_draft_is_replaced(tmp_path: Path) -> None:
    server = parts.postgres(tmp_path / "new" / "home")
    draft = server.home / "postgres.new"
    (draft / "base").mkdir(parents=True)
    await server.prepare()
    assert (server.data / "PG_VERSION").exists()
    assert not draft.exists()


async def test_the_error_of_a_failing_initdb_is_quoted(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    # A name that initdb rejects; as root it fails earlier, with an error of its own.
    with pytest.raises(ConfigurationError, match=r"could not create its data .* initdb: error: "):
        await create_cluster(data, "pg_reserved", "password", None)
    assert not data.exists()


async def test_postgres_is_not_ready_before_it_is_started(tmp_path: Path) -> None:
    assert not await parts.postgres(tmp_path).is_ready()
