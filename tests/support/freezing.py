"""Freeze the processes of a server: it keeps its connections but does not respond."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Freeze the process `pid` and its children for the duration of the block."""
    processes = [pid]
    _send(SIGSTOP, processes)  # it has no more children from here on
    processes += _children(pid)
    _send(SIGSTOP, processes)
    try:
        yield
    finally:
        _send(SIGCONT, processes)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _send(number: Signals, processes: list[int]) -> None:
    for member in processes:
        with suppress(ProcessLookupError):
            os.kill(member, number)
