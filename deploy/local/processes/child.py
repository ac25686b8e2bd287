"""Descriptions of child processes: how to start, check and stop them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Account:
    """The account a child runs as, if it is not our own.

    With `keeps_access` it may enter folders that are closed to the account; only root can grant
    this.
    """

    uid: int
    gid: int
    keeps_access: bool

    def __str__(self) -> str:
        """Format the account as `launch.py` parses it."""
        return f"{self.uid}:{self.gid}" + (":+" if self.keeps_access else "")


async def ready_at_once() -> bool:
    """Return True: the readiness check of a child that needs no waiting."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A child process: how to start it, how to check that it is ready, how to stop it.

    `environment` is added to our own; secrets belong there, since every user can read command
    lines. `ready` returns False for "not yet", and raises if waiting is useless. The kernel sends
    `death_signal` to the child if we end without stopping it.
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
    """A server of the local stack: Postgres, Redis or S3."""

    async def prepare(self) -> None:
        """Create its data folder and check its port; may be called again.

        Raises:
            ConfigurationError: the port is taken, the wheel is missing, or the data is unusable.
        """

    def child(self) -> Child:
        """Return the description of its process."""
