"""A PgBouncer in front of the tests' Postgres, from the operating system's package."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import Signals

import asyncpg
import pytest
from sqlalchemy import make_url

from deploy.local.processes.child import Child
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.account import choose_account
from deploy.local.servers.ports import LOOPBACK, free_port

CONFIGURATION = """
[databases]
* = host={host} port={upstream}
[pgbouncer]
listen_addr = {loopback}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 500
server_idle_timeout = 5
"""


def require_pgbouncer() -> str:
    """Return the path of the program, or skip the test if it is not installed."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    return program


@asynccontextmanager
async def pgbouncer(folder: Path, url: str, *, mode: str, size: int = 20) -> AsyncIterator[str]:
    """Start a PgBouncer with a minimal configuration, and yield the URL of its database."""
    program = require_pgbouncer()
    target = make_url(url)
    port = free_port()
    configuration = folder / "pgbouncer.ini"
    account = choose_account(configuration, Path(program).parent)
    configuration.write_text(
        CONFIGURATION.format(
            host=target.host,
            upstream=target.port,
            loopback=LOOPBACK,
            port=port,
            folder=folder,
            mode=mode,
            size=size,
        )
    )
    users = folder / "users.txt"
    users.write_text(f'"{target.username}" "{target.password}"\n')
    if account is not None:
        for path in (configuration, users):
            os.chown(path, account.uid, account.gid)
    through = target.set(host=LOOPBACK, port=port).render_as_string(hide_password=False)

    async def is_ready() -> bool:
        try:
            connection = await asyncpg.connect(through, statement_cache_size=0)
        except OSError:
            return False
        await connection.close()
        return True

    child = Child(
        name="pgbouncer",
        command=(program, str(configuration)),
        account=account,
        ready=is_ready,
        stop_signal=Signals.SIGTERM,
    )
    async with Supervisor(folder / "logs") as supervisor:
        await supervisor.start(child)
        yield through
