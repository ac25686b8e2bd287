"""Restrictions that a decoder process imposes on itself before it reads untrusted bytes."""

import resource
import signal
from contextlib import suppress
from math import ceil
from pathlib import Path
from time import process_time
from typing import Final

_LIKELIEST_VICTIM: Final = "1000"


def confine(memory_bytes: int) -> None:
    """Restrict this process to decoding; afterwards it cannot open files or import modules.

    `memory_bytes` is the address space allowed beyond what is in use now. If the machine or the
    container runs out of memory, the kernel kills this process first.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # A terminal sends them to the whole process group; the worker ends decoders itself.
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # where /proc is read-only, the kernel chooses by its own score
        Path("/proc/self/oom_score_adj").write_text(_LIKELIEST_VICTIM)
    _limit(resource.RLIMIT_AS, _memory_in_use() + memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)  # a core dump would contain a tenant's image
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, 0)  # no files and sockets beside the open ones


def allow_cpu(seconds: int) -> None:
    """Allow this process `seconds` more of CPU time; the kernel kills it (SIGXCPU) after that."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(process_time()) + seconds, hard))


def _limit(kind: int, most: int) -> None:
    resource.setrlimit(kind, (most, most))


def _memory_in_use() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
