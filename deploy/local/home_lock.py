"""The folder one installation lives in: one owner at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from common.domain.errors import ConfigurationError


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Hold `home` for ourselves while the block runs; made if missing.

    The kernel lets go of it when we end, however we end, so nothing stale is left behind.

    Raises:
        ConfigurationError: it cannot be written to, or another process holds it; says which.
    """
    with _open_lock(home) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise ConfigurationError(
                f"{home} is in use by another Infill, process {lock.read().strip()}: "
                "stop that one, or choose another folder with --home"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _open_lock(home: Path) -> TextIO:
    try:
        home.mkdir(parents=True, exist_ok=True)
        return (home / "lock").open("a+")
    except OSError as error:
        raise ConfigurationError(
            f"{home} cannot be written to ({error.strerror}): choose another folder with --home"
        ) from error
