"""Places at which a process kills itself when told to: a real SIGKILL at an exact moment.

Telling is a file with the place's name; the process that can delete it is the one that dies.
"""

import os
import signal
from pathlib import Path

from tests.chaos.journal import Journal


class Wounds:
    """The files, and the killing."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._journal = journal

    def arm(self, place: str) -> None:
        """Let the next process that comes by this place die there."""
        (self.folder / place).touch()

    def disarm(self, place: str) -> bool:
        """Let nobody die there any more; False if somebody has."""
        try:
            (self.folder / place).unlink()
        except FileNotFoundError:
            return False
        return True

    def strike(self, place: str) -> None:
        """Die here, now, if that was asked for."""
        if self.disarm(place):
            self.die(place)

    def die(self, place: str, **facts: str) -> None:
        self._journal.note("killed", place=place, victim=os.getpid(), **facts)
        os.kill(os.getpid(), signal.SIGKILL)
