"""What has to be known of a process to run it beside us."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Account:
    """Who a child runs as, where that is not who we are.

    `keeps_access` lets it through folders that are closed to it; only root can give that.
    """

    uid: int
    gid: int
    keeps_access: bool

    def __str__(self) -> str:
        """Spell it as `launch.py` reads it."""
        return f"{self.uid}:{self.gid}" + (":+" if self.keeps_access else "")


async def ready_at_once() -> bool:
    """Stand for the check of a child that nobody has to wait for."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process: how to start it, how to tell that it serves, how to end it.

    `environment` is added to our own; secrets go there, for a command line can be read by all.
    `ready` answers False for "not yet" and raises when waiting is no use.
    `death_signal` is what the kernel sends it should we end without a word.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    account: Account | None = None
    ready: Callable[[], Awaitable[bool]] = ready_at_once
    ready_seconds: float = 60.0
    stop_signal: Signals = Signals.SIGTERM
    stop_seconds: float = 30.0
    death_signal: Signals = Signals.SIGKILL


class Server(Protocol):
    """One of the three parts that come from wheels."""

    async def prepare(self) -> None:
        """Lay out its folder and check its port; harmless to repeat.

        Raises:
            ConfigurationError: the port is taken, the wheel is missing, the data cannot be used.
        """

    def child(self) -> Child:
        """Describe its process."""
