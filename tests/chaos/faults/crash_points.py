"""Points in the code at which a process kills itself with SIGKILL, when armed.

A point is armed by a file with its name; the process that deletes the file is the one that dies.
"""

import os
import signal
from pathlib import Path

from tests.chaos.journal import Journal


class CrashPoints:
    """The files of armed points in `folder`; each kill is recorded in the journal."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._journal = journal

    def arm(self, place: str) -> None:
        """Let the next process that reaches this point die there."""
        (self.folder / place).touch()

    def disarm(self, place: str) -> bool:
        """Disarm the point; return False if a process has died there."""
        try:
            (self.folder / place).unlink()
        except FileNotFoundError:
            return False
        return True

    def crash_if_armed(self, place: str) -> None:
        """Kill this process if the point is armed."""
        if self.disarm(place):
            self.die(place)

    def die(self, place: str, **facts: str) -> None:
        self._journal.note("killed", place=place, victim=os.getpid(), **facts)
        os.kill(os.getpid(), signal.SIGKILL)
