"""What the tests of the local stack share: servers in a home of their own, and watching ends."""

import asyncio
import os
import select
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.processes.child import Child, Server
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import free_port
from deploy.local.servers.postgres import PostgresServer
from deploy.local.servers.redis import RedisServer
from deploy.local.servers.s3 import S3Server

DEADLINE_SECONDS = 30.0


def postgres(home: Path) -> PostgresServer:
    return PostgresServer(home, free_port(), "test-password", durable=False)


def redis(home: Path) -> RedisServer:
    return RedisServer(home, free_port())


def s3(home: Path) -> S3Server:
    return S3Server(home, free_port(), "test-key", "test-secret")


async def start(supervisor: Supervisor, server: Server) -> int:
    await server.prepare()
    return await supervisor.start(server.child())


def python(name: str, source: str) -> Child:
    """Describe a child that runs a few lines of Python."""
    return Child(name=name, command=(sys.executable, "-c", source))


def descendants(pid: int) -> Iterator[int]:
    """Yield the ids of all descendants of a process."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from descendants(int(child))


@contextmanager
def watched(pids: Iterable[int]) -> Iterator[list[int]]:
    """Yield handles of processes, by which their ends can be waited for."""
    handles = [os.pidfd_open(pid) for pid in pids]
    try:
        yield handles
    finally:
        for handle in handles:
            os.close(handle)


async def all_ended(handles: Iterable[int]) -> bool:
    """Return whether all these processes end before the deadline."""
    return all([await asyncio.to_thread(_ended, handle) for handle in handles])


def _ended(handle: int) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(DEADLINE_SECONDS * 1000))
