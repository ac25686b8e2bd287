"""The exit of a child process, described with the end of its log."""

import os
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

TAIL_BYTES = 4_000
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class ChildExit:
    """The exit of a child process.

    If a signal ended the process, `exit_code` is the negative number of the signal.
    """

    name: str
    exit_code: int
    log: Path

    @property
    def summary(self) -> str:
        """The name of the child and how it ended, for example "redis ended with exit code 1"."""
        if self.exit_code < 0:
            how = f"was ended by {Signals(-self.exit_code).name}"
        else:
            how = f"ended with exit code {self.exit_code}"
        return f"{self.name} {how}"

    def __str__(self) -> str:
        """Return the summary and the last lines of the log, for the operator."""
        return f"{self.summary}. {log_tail(self.log)}"


def log_tail(log: Path) -> str:
    """Return a sentence with the path of `log` and its last lines, at most fifteen."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    tail = "\n".join(lines[-TAIL_LINES:]) or "(nothing)"
    return f"The end of its log, {log}:\n{tail}"
