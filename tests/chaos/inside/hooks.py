"""What a process under test uses of the harness: journal, crash points, hooks."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.chaos.faults.crash_points import CrashPoints
from tests.chaos.journal import Journal

HOME_VARIABLE: Final = "CHAOS_HOME"
BREAK_VARIABLE: Final = "CHAOS_BREAK"
# Set by the harness for the processes it starts.
HOME: Final = Path(os.environ[HOME_VARIABLE])  # noqa: TID251
BROKEN: Final = os.environ.get(BREAK_VARIABLE, "")  # noqa: TID251

JOURNAL: Final = Journal(HOME / "journal.jsonl")
CRASH_POINTS: Final = CrashPoints(HOME / "crash_points", JOURNAL)

Before = Callable[..., object]
After = Callable[[Any], object]


def nothing(*_: object, **__: object) -> None:
    """Do nothing."""


def put(owner: Any, name: str, value: object) -> None:
    """Replace an attribute that the product uses.

    Raises:
        AttributeError: there is none, so the replacement would have no effect.
    """
    getattr(owner, name)
    setattr(owner, name, value)


def hook(owner: Any, name: str, *, before: Before = nothing, after: After = nothing) -> None:
    """Call `before` with the arguments, and `after` with the result, of an async function."""
    original = getattr(owner, name)

    @functools.wraps(original)
    async def hooked(*args: Any, **named: Any) -> Any:
        before(*args, **named)
        result = await original(*args, **named)
        after(result)
        return result

    put(owner, name, hooked)
