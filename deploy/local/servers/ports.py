"""Choosing TCP ports on loopback."""

import json
import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from common.domain.errors import ConfigurationError
from deploy.local.local_secrets import write_private

LOOPBACK = "127.0.0.1"
# Below the range the kernel draws from for outgoing connections (32768 and up on Linux), so that
# none of those takes a port between our choosing it and the server's binding it.
FIRST_PORT = 20_000
PORTS = 12_000
DRAWS = 1_000


def free_ports(count: int) -> tuple[int, ...]:
    """Choose `count` different ports on which nothing listens now.

    Raises:
        ConfigurationError: none was found in a thousand draws.
    """
    chosen: list[int] = []
    with ExitStack() as held:
        for _ in range(DRAWS):
            if len(chosen) == count:
                return tuple(chosen)
            port = FIRST_PORT + secrets.randbelow(PORTS)
            listener = held.enter_context(socket.socket())
            if _can_bind(listener, port):
                chosen.append(port)
    raise ConfigurationError(
        f"no {count} free ports between {FIRST_PORT} and {FIRST_PORT + PORTS} on {LOOPBACK}"
    )


def choose_stable_ports(home: Path, names: Sequence[str]) -> dict[str, int]:
    """Choose a port for each name, the same as last time where it is still free.

    A link to a picture names the S3 server's port: it outlives a restart with it.
    """
    path = home / "ports.json"
    before: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    fresh = (port for port in free_ports(2 * len(names)) if port not in before.values())
    ports = {
        name: port if (port := before.get(name)) and _is_free(port) else next(fresh)
        for name in names
    }
    write_private(path, ports)
    return ports


def free_port() -> int:
    """Choose one port on which nothing listens now."""
    return free_ports(1)[0]


def check_port_free(port: int, name: str) -> None:
    """Make sure that `name` can listen on `port`.

    Raises:
        ConfigurationError: it cannot; says which port and for whom.
    """
    if not _is_free(port):
        raise ConfigurationError(
            f"{name} cannot listen on {LOOPBACK}:{port}: the port is taken by another program "
            "or not ours to use; stop that program or choose another port"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As servers do: connections of an earlier run that are still fading do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _can_bind(listener, port)


def _can_bind(listener: socket.socket, port: int) -> bool:
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        return False
    return True
