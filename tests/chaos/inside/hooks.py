"""What a process of the harness finds around it: the journal, the wounds, and how to hook in."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.chaos.faults.crash_points import Wounds
from tests.chaos.journal import Journal

HOME_VARIABLE: Final = "CHAOS_HOME"
BREAK_VARIABLE: Final = "CHAOS_BREAK"
# The harness talks to processes it starts, and nobody else reads these.
HOME: Final = Path(os.environ[HOME_VARIABLE])  # noqa: TID251
BROKEN: Final = os.environ.get(BREAK_VARIABLE, "")  # noqa: TID251

JOURNAL: Final = Journal(HOME / "journal.jsonl")
WOUNDS: Final = Wounds(HOME / "wounds", JOURNAL)

Before = Callable[..., object]
After = Callable[[Any], object]


def nothing(*_: object, **__: object) -> None:
    """Do nothing."""


def put(owner: Any, name: str, value: object) -> None:
    """Put something else in the place of what the product calls."""
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
