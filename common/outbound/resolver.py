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
ResolveHost: TypeAlias = Callable[[str, int], list[Address]]

THREADS: Final = 64
# The C library waits 10 to 30 s for a dead name server and cannot be stopped, so one site's names
# (`a.example.com`, `b.example.com`, …) may hold only so many of the threads at once.
THREADS_PER_SITE: Final = 8


def resolve_host(host: str, port: int) -> list[Address]:
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

    def __init__(self, resolve_host: ResolveHost = resolve_host) -> None:
        self._resolve_host = resolve_host
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dns")
        self._lookups: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}
        self._sites: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def __call__(self, host: str, port: int) -> list[Address]:
        """Give every address of `host`; the caller sets the deadline.

        Raises:
            OSError: there is none, or no answer.
        """
        key = (host, port)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = asyncio.create_task(self._run_lookup(host, port))
            lookup.add_done_callback(lambda landed: self._finish_lookup(key, landed))
        # Shielded: one caller's deadline must not end the look-up others wait for.
        return await asyncio.shield(lookup)

    async def aclose(self) -> None:
        """Stop waiting for any look-up; a thread inside one ends when the system lets it."""
        for lookup in list(self._lookups.values()):
            lookup.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run_lookup(self, host: str, port: int) -> list[Address]:
        site = ".".join(host.split(".")[-2:])
        semaphore = self._sites.setdefault(site, asyncio.Semaphore(THREADS_PER_SITE))
        async with semaphore:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._resolve_host, host, port)

    def _finish_lookup(self, key: tuple[str, int], lookup: asyncio.Task[Any]) -> None:
        del self._lookups[key]
        if not lookup.cancelled():
            lookup.exception()  # looked at here in case every caller has given up already
