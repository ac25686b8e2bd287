"""Descriptions of child processes: how to start, check and stop each."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Account:
    """The account that a child process runs as, if it is not the account of this process.

    If `keeps_access` is true, the child can access files regardless of their mode; only root can
    grant this.
    """

    uid: int
    gid: int
    keeps_access: bool

    def __str__(self) -> str:
        """Return the account in the format that `launch.py` parses."""
        return f"{self.uid}:{self.gid}" + (":+" if self.keeps_access else "")


async def ready_at_once() -> bool:
    """Return True: the readiness check for a child that is ready as soon as it starts."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """Description of a child process: how to start it, check that it is ready, and stop it.

    `environment` is added to the environment of this process; pass secrets there, because every
    user can read command lines. `ready` returns False if the child is not ready yet, and raises an
    exception if it never will be. To stop the child, `stop_signal` is sent to it; if it has not
    ended after `stop_seconds`, it is killed. The kernel sends `death_signal` to the child if this
    process ends without stopping it.
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
        """Create the server's data folder and check that its port is free; idempotent.

        Raises:
            ConfigurationError: the port is taken, the wheel is missing, or the data is unusable.
        """

    def child(self) -> Child:
        """Return the description of the server's process."""
