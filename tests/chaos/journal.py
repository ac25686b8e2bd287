"""A journal of events that all processes append to: lines of JSON in one file.

A line is one write to a file opened for appending, so lines of processes that are killed in
the next moment are whole. Times are of the machine's monotonic clock, which all share.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.runtime.clock import monotonic


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
        self._entries: list[Entry] = []
        self._read = 0  # bytes
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, event: str, **facts: Any) -> None:
        line = {"event": event, "at": monotonic(), "pid": os.getpid(), "facts": facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def entries(self, *events: str) -> list[Entry]:
        """Return the entries so far, of these events or of all."""
        self._read_on()
        wanted = set(events)
        return [entry for entry in self._entries if not wanted or entry.event in wanted]

    def _read_on(self) -> None:
        """Read the lines added since the last time, except one that is being written."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._entries.append(Entry(**json.loads(line)))
                self._read += len(line)
