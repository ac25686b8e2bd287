"""Looking names up without letting a hung name server hold up anyone else."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

from common.outbound.address import Address

Resolver: TypeAlias = Callable[[str, int], Awaitable[list[Address]]]
LookUp: TypeAlias = Callable[[str, int], list[Address]]

THREADS: Final = 64
# The C library waits 10 to 30 s for a dead name server and cannot be stopped, so one site's names
# (`a.example.com`, `b.example.com`, …) may hold only so many of the threads at once.
THREADS_PER_SITE: Final = 8


def look_up(host: str, port: int) -> list[Address]:
    """Ask the system for every address of `host`; blocks.

    Raises:
        OSError: there is none, or no answer.
    """
    # The last dot keeps the machine's search list out: under it `wiki.intranet` could be answered
    # as `wiki.intranet.corp.example.com`, a name that nobody has judged.
    answers = socket.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM)
    return [ip_address(answer[4][0]) for answer in answers]


class ThreadedResolver:
    """The system's resolver in threads of its own; a name is looked up once at a time.

    A hung name thus costs one thread however many requests wait for it, and the event loop's
    own threads never wait for DNS.
    """

    def __init__(self, look_up: LookUp = look_up) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dns")
        self._flights: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}
        self._sites: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def __call__(self, host: str, port: int) -> list[Address]:
        """Give every address of `host`; the caller sets the deadline.

        Raises:
            OSError: there is none, or no answer.
        """
        key = (host, port)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._fly(host, port))
            flight.add_done_callback(lambda landed: self._land(key, landed))
        # Shielded: one caller's deadline must not end the look-up others wait for.
        return await asyncio.shield(flight)

    async def aclose(self) -> None:
        """Stop waiting for any look-up; a thread inside one ends when the system lets it."""
        for flight in list(self._flights.values()):
            flight.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _fly(self, host: str, port: int) -> list[Address]:
        site = ".".join(host.split(".")[-2:])
        turns = self._sites.setdefault(site, asyncio.Semaphore(THREADS_PER_SITE))
        async with turns:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._look_up, host, port)

    def _land(self, key: tuple[str, int], flight: asyncio.Task[Any]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # looked at here in case every caller has given up already
