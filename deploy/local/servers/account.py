"""Whom Postgres runs as, since it refuses to run as root."""

import os
import pwd
import stat
from pathlib import Path

from common.domain.errors import ConfigurationError
from deploy.local.processes.child import Account

UNPRIVILEGED = "nobody"


def choose_account(data: Path, programs: Path) -> Account | None:
    """Choose the account that runs `programs` on `data`; None means our own, if that is not root.

    Data that are there already stay with the account that made them.

    Raises:
        ConfigurationError: we are root, and this machine has no other account to run as.
    """
    if os.geteuid() != 0:
        return None
    uid, gid = _owner(data) if data.exists() else _unprivileged()
    return Account(uid, gid, keeps_access=not (is_open_to_all(data) and is_open_to_all(programs)))


def _owner(data: Path) -> tuple[int, int]:
    status = data.stat()
    return status.st_uid, status.st_gid


def _unprivileged() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError as error:
        raise ConfigurationError(
            f"Postgres refuses to run as root and there is no account `{UNPRIVILEGED}` "
            "on this machine: start as an ordinary user"
        ) from error
    return entry.pw_uid, entry.pw_gid


def is_open_to_all(path: Path) -> bool:
    """Tell whether anyone may enter every folder above `path`.

    Often not so: root's own home and temporary folders are closed to others.
    """
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
