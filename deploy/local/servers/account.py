"""Choose the account that Postgres runs as, since Postgres refuses to run as root."""

import os
import pwd
import stat
from pathlib import Path

from common.domain.errors import ConfigurationError
from deploy.local.processes.child import Account

UNPRIVILEGED = "nobody"


def choose_account(data: Path, programs: Path) -> Account | None:
    """Return the account under which `programs` access `data`, or None for the current account.

    The account changes only if this process runs as root: to the owner of existing data, or else to
    `nobody`.

    Raises:
        ConfigurationError: this process is root, and the machine has no account `nobody`.
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
            "on this machine: start it as an ordinary user"
        ) from error
    return entry.pw_uid, entry.pw_gid


def is_open_to_all(path: Path) -> bool:
    """Return whether every account may enter all folders above `path`.

    Root's home and temporary folders, for example, are closed to others.
    """
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
