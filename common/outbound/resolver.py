"""Name resolution by the system, in separate threads because a DNS server may hang."""

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
# The C library waits 10 to 30 s for a dead name server and cannot be interrupted. So the names of
# one site (`a.example.com`, `b.example.com`, …) may occupy only this many threads at once.
THREADS_PER_SITE: Final = 8


def resolve_host(host: str, port: int) -> list[Address]:
    """Return all addresses of `host` from the system's resolver; blocks the thread.

    Raises:
        OSError: the name does not resolve.
    """
    # The final dot disables the machine's search list, by which `wiki.intranet` could resolve as
    # `wiki.intranet.corp.example.com`, a name that has not been checked.
    answers = socket.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM)
    return [ip_address(answer[4][0]) for answer in answers]


def resolve_internal_host(host: str, port: int) -> list[Address]:
    """Return all addresses of an internal host, also by the machine's search list.

    The operator has named the host as this machine calls it.

    Raises:
        OSError: the name does not resolve.
    """
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(answer[4][0]) for answer in answers]


class ThreadedResolver:
    """The system's resolver in a separate thread pool, with one look-up per name at a time.

    Requests for the same name share a look-up, so that a look-up that hangs occupies only one
    thread. The event loop's default thread pool is not used, so DNS cannot block it.
    """

    def __init__(self, resolve_host: ResolveHost = resolve_host) -> None:
        self._resolve_host = resolve_host
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dns")
        self._lookups: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}
        self._sites: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def __call__(self, host: str, port: int) -> list[Address]:
        """Return all addresses of `host`; the caller has to apply a deadline.

        Raises:
            OSError: the name does not resolve.
        """
        key = (host, port)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = asyncio.create_task(self._run_lookup(host, port))
            lookup.add_done_callback(lambda landed: self._finish_lookup(key, landed))
        # Shielded: one caller's deadline must not cancel the look-up that others wait for.
        return await asyncio.shield(lookup)

    async def aclose(self) -> None:
        """Cancel all look-ups; threads in a system call end when the call returns."""
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
