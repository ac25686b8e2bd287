"""A process with few descriptors serves healthy clients during and after a flood."""

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress

from tests.integration.connections.few_descriptors import DESCRIPTORS
from tests.integration.connections.site import PATIENCE_SECONDS

WHOLE = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
FLOOD = 3 * DESCRIPTORS


@asynccontextmanager
async def few_descriptors(capacity: int) -> AsyncIterator[int]:
    program = "tests.integration.connections.few_descriptors"
    command = (sys.executable, "-m", program, "8192", str(capacity))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin
    assert process.stdout
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        assert await process.wait() == 0


def flood(port: int, stack: ExitStack) -> None:
    for _ in range(FLOOD):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        client.sendall(b"GET / HTTP/1.1\r\n")


async def ask(port: int) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(WHOLE)
            return await reader.readline()
        finally:
            writer.close()


async def ask_until_served(port: int) -> bytes:
    """Ask again after each reset: libuv closes new connections until it has free descriptors."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(ConnectionError):
                if line := await ask(port):
                    return line


async def test_the_capacity_leaves_room_so_that_a_healthy_client_is_served() -> None:
    async with few_descriptors(capacity=0) as port:
        with ExitStack() as stack:
            flood(port, stack)
            for _ in range(10):
                assert (await ask(port)).startswith(b"HTTP/1.1 200")


async def test_a_process_without_free_descriptors_serves_again_when_there_are_some() -> None:
    async with few_descriptors(capacity=10 * DESCRIPTORS) as port:
        with ExitStack() as stack:
            flood(port, stack)
        assert (await ask_until_served(port)).startswith(b"HTTP/1.1 200")
