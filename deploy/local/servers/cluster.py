"""The data folder of Postgres (a "cluster"): creation, version check, stale locks."""

import os
import shutil
import tempfile
from pathlib import Path

from common.domain.errors import ConfigurationError
from deploy.local.processes.child import Account, Child
from deploy.local.processes.readiness import wait_until_ready
from deploy.local.processes.spawn import spawn
from deploy.local.servers.binaries import POSTGRES_MAJOR, find_postgres_programs

RELEASE_SECONDS = 30.0


async def create_cluster(data: Path, user: str, password: str, account: Account | None) -> None:
    """Create an empty cluster at `data`, atomically: a temporary folder is filled and renamed.

    `user` becomes the superuser, with `password`; `account` (None: the current one) owns the files.

    Raises:
        ConfigurationError: initdb failed; the message has its output.
    """
    draft = data.with_name(f"{data.name}.new")
    shutil.rmtree(draft, ignore_errors=True)  # left by a run that was interrupted
    draft.mkdir(mode=0o700, parents=True)
    with tempfile.NamedTemporaryFile("w") as secret, tempfile.TemporaryFile() as log:
        secret.write(password)
        secret.flush()
        if account:
            os.chown(draft, account.uid, account.gid)
            os.chown(secret.name, account.uid, account.gid)
        process = await spawn(_initdb(draft, user, secret.name, account), log)
        if await process.wait():
            log.seek(0)
            output = log.read().decode(errors="replace").strip()
            raise ConfigurationError(f"Postgres could not create its data in {data}: {output}")
    draft.rename(data)


def _initdb(draft: Path, user: str, secret: str, account: Account | None) -> Child:
    return Child(
        name="initdb",
        command=(
            str(find_postgres_programs() / "initdb"),
            *("-D", str(draft), "-U", user, f"--pwfile={secret}", "--auth=scram-sha-256"),
            # Text sorts the same on every machine, whatever its locale.
            *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
            # The cluster is still empty; the server itself syncs what it writes.
            *("--no-sync", "--no-instructions"),
        ),
        account=account,
    )


def check_version(data: Path) -> None:
    """Check that this release's version of Postgres can use the cluster `data`.

    Raises:
        ConfigurationError: `data` belongs to another major version or account, or is not a
            cluster.
    """
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except PermissionError as error:
        raise ConfigurationError(
            f"{data} belongs to another account: start as that account or as root"
        ) from error
    except FileNotFoundError:
        found = "unknown"
    if found != str(POSTGRES_MAJOR):
        raise ConfigurationError(
            f"{data} contains data of Postgres version {found}, this release runs version "
            f"{POSTGRES_MAJOR}: move the folder away to start with an empty database, or dump and "
            "restore it"
        )


async def wait_for_release(data: Path) -> None:
    """Wait until no server runs on `data`, and remove a lock file that would block a start.

    If a previous stack was killed, its server may still be shutting down. And since process ids are
    reused (in a container, after a reboot), the id in a stale lock file may belong to another
    program by now: Postgres would take that program for a server and refuse to start. A lock whose
    process does not exist is left in place, because Postgres handles it correctly.

    Raises:
        ConfigurationError: another server is still running on the same data.
    """
    lock = data / "postmaster.pid"

    async def released() -> bool:
        owner = _lock_owner(lock)
        return owner is None or not _serves(owner, data)

    try:
        await wait_until_ready(released, "the release of the data", RELEASE_SECONDS)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"Postgres, process {_lock_owner(lock)}, is still running on {data}: stop it first"
        ) from error
    owner = _lock_owner(lock)
    if owner is not None and _command_line(owner):
        lock.unlink()


def _lock_owner(lock: Path) -> int | None:
    try:
        return int(lock.read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _serves(pid: int, data: Path) -> bool:
    return os.fsencode(data) in _command_line(pid).split(b"\0")


def _command_line(pid: int) -> bytes:
    """Return the command line of the process `pid`; it is empty if the process does not exist."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
