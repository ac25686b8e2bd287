"""Whom Postgres runs as, since it refuses to run as root."""

import os
import pwd
import stat
from pathlib import Path

from common.domain.errors import ConfigurationError
from deploy.local.child import Account

UNPRIVILEGED = "nobody"


def account_for(*paths: Path) -> Account | None:
    """Choose the account for a program that must not be root and has to reach all of `paths`.

    None means our own, which will do for everyone but root.

    Raises:
        ConfigurationError: we are root, and this machine has no other account to run as.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError as error:
        raise ConfigurationError(
            f"Postgres refuses to run as root and there is no account `{UNPRIVILEGED}` "
            "on this machine: start as an ordinary user"
        ) from error
    return Account(entry.pw_uid, entry.pw_gid, passage=not all(map(open_to_all, paths)))


def open_to_all(path: Path) -> bool:
    """Tell whether anyone may enter every folder above `path`.

    Often not so: root's own home and temporary folders are closed to others.
    """
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
