"""What happened, told by every process on its own: lines of JSON in one file.

A line is one write to a file opened for appending, so lines of processes that are killed in
the next moment are whole. Times are of the machine's monotonic clock, which all share.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.clock import monotonic


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened in process `pid`, at `at` seconds."""

    event: str
    at: float
    pid: int
    facts: dict[str, Any]


class Journal:
    """Appends to, and reads, the one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, event: str, **facts: Any) -> None:
        line = {"event": event, "at": monotonic(), "pid": os.getpid(), "facts": facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def entries(self, *events: str) -> list[Entry]:
        """Give what was noted so far, of these events or of all."""
        wanted = set(events)
        return [entry for entry in self._read() if not wanted or entry.event in wanted]

    def _read(self) -> Iterator[Entry]:
        with self._path.open() as lines:
            for line in lines:
                if line.endswith("\n"):  # else it is being written
                    yield Entry(**json.loads(line))
