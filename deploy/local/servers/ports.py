"""Choose free TCP ports on the loopback address."""

import json
import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from common.domain.errors import ConfigurationError
from deploy.local.local_secrets import write_private

LOOPBACK = "127.0.0.1"
# Below the range that the kernel uses for outgoing connections (32768 and up on Linux), so that
# none of these takes a port after we chose it and before the server binds it.
FIRST_PORT = 20_000
PORTS = 12_000
DRAWS = 1_000


def free_ports(count: int) -> tuple[int, ...]:
    """Return `count` different ports on which nothing listens.

    Raises:
        ConfigurationError: a thousand random ports did not contain enough free ones.
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
    """Return a port for each of `names`, the same as last time if it is still free.

    The ports are stored in `home`. This keeps links to images valid after a restart, because
    they contain the port of the S3 server.
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
    """Return one port on which nothing listens."""
    return free_ports(1)[0]


def check_port_free(port: int, name: str) -> None:
    """Check that `port` is free for the server called `name`.

    Raises:
        ConfigurationError: the port is taken or not permitted; the message names port and server.
    """
    if not _is_free(port):
        raise ConfigurationError(
            f"{name} cannot listen on {LOOPBACK}:{port}: the port is used by another program, or "
            "not permitted; stop that program or choose another port"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As servers do: connections of an earlier run in the state TIME_WAIT do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _can_bind(listener, port)


def _can_bind(listener: socket.socket, port: int) -> bool:
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        return False
    return True
