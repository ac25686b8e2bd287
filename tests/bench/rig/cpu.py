"""CPU time of processes with all their children, from /proc; seconds."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time these processes and their descendants have used.

    The time of children that ended is counted in their parent, so none is missed.
    """
    parents = _parents()
    return sum(_used(pid) for pid in _with_descendants(set(pids), parents)) / TICKS


def cpu_by_name(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the same time for each of the named processes."""
    return {name: cpu_seconds([pid]) for name, pid in pids.items()}


def children_of(pid: int) -> set[int]:
    """Return the ids of the processes that this one has started."""
    return {child for child, parent in _parents().items() if parent == pid}


def _with_descendants(wanted: set[int], parents: dict[int, int]) -> set[int]:
    while more := {pid for pid, parent in parents.items() if parent in wanted} - wanted:
        wanted = wanted | more
    return wanted


def _parents() -> dict[int, int]:
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid: int(fields[1]) for pid in pids if (fields := _fields(pid))}


def _used(pid: int) -> int:
    # utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted after the name.
    return sum(int(field) for field in _fields(pid)[11:15])


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
