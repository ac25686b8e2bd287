"""What is known of a child that ended."""

import os
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

TAIL_BYTES = 4_000
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Death:
    """A child's end; `exit_code` is negative for a signal, as Python has it."""

    name: str
    exit_code: int
    log: Path

    def __str__(self) -> str:
        """Tell the operator who ended how, and its last words."""
        if self.exit_code < 0:
            how = f"was ended by {Signals(-self.exit_code).name}"
        else:
            how = f"ended with exit code {self.exit_code}"
        tail = log_tail(self.log) or "(nothing)"
        return f"{self.name} {how}. The end of its log, {self.log}:\n{tail}"


def log_tail(log: Path) -> str:
    """Read the last lines of a log, at most fifteen."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
