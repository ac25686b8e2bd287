"""The lock on a local stack's folder: only one process uses the folder at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from common.domain.errors import ConfigurationError


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Lock the folder `home` for the duration of the block; create it if it is missing.

    Its permissions are set so that only its owner can access it.

    The kernel releases the lock when the process ends, however it ends, so no stale lock remains.

    Raises:
        ConfigurationError: the folder is not writable, or another process has locked it.
    """
    with _open_lock(home) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise ConfigurationError(
                f"{home} is in use by another Infill, process {lock.read().strip()}: "
                "stop it, or choose another folder with --home"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _open_lock(home: Path) -> TextIO:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        return (home / "lock").open("a+")
    except OSError as error:
        raise ConfigurationError(
            f"{home} is not writable ({error.strerror}): choose another folder with --home"
        ) from error
