"""Choose the account that Postgres runs as, since Postgres refuses to run as root."""

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from common.domain.errors import ConfigurationError
from deploy.local.processes.child import Account

OWN_ACCOUNT = "infill"


def choose_account(data: Path, programs: Path) -> Account | None:
    """Return the account under which `programs` access `data`, or None for the current account.

    The account changes only if this process runs as root: to the owner of existing data, or else to
    the system account `infill`, which is created if it is missing. No other service shares it.

    Raises:
        ConfigurationError: this process is root, and the account is missing and cannot be created.
    """
    if os.geteuid() != 0:
        return None
    uid, gid = _owner(data) if data.exists() else _own_account()
    return Account(uid, gid, keeps_access=not (is_open_to_all(data) and is_open_to_all(programs)))


def _owner(data: Path) -> tuple[int, int]:
    status = data.stat()
    return status.st_uid, status.st_gid


def _own_account() -> tuple[int, int]:
    entry = _find_account() or _create_account()
    if entry is None:
        raise ConfigurationError(
            f"Postgres refuses to run as root, and the account `{OWN_ACCOUNT}` could not be "
            f"created: run `useradd --system {OWN_ACCOUNT}`, or start as an ordinary user"
        )
    return entry.pw_uid, entry.pw_gid


def _find_account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(OWN_ACCOUNT)
    except KeyError:
        return None


def _create_account() -> pwd.struct_passwd | None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        return None
    options = ("--system", "--no-create-home", "--shell", "/usr/sbin/nologin")
    # It waits for the lock on the list of accounts; another process may then have created it.
    subprocess.run((useradd, *options, OWN_ACCOUNT), capture_output=True, check=False)
    return _find_account()


def is_open_to_all(path: Path) -> bool:
    """Return whether every account may enter all folders above `path`.

    Root's home and temporary folders, for example, are closed to others.
    """
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
