"""The system's resolver in threads: a hung name delays no other look-up."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from common.outbound.address import Address
from common.outbound.resolver import THREADS_PER_SITE, ThreadedResolver

FOUND: list[Address] = [IPv4Address("192.0.2.1")]


class DeadNames:
    """Look-ups under `dead.example` hang until released; all others return at once."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: Counter[str] = Counter()
        self.all_lanes_taken = threading.Event()

    def __call__(self, host: str, port: int) -> list[Address]:
        del port
        self.asked[host] += 1
        if host.endswith("dead.example"):
            if self.asked.total() >= THREADS_PER_SITE:
                self.all_lanes_taken.set()
            self.released.wait(30)
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return FOUND


@pytest.fixture
async def names() -> AsyncIterator[DeadNames]:
    names = DeadNames()
    yield names
    names.released.set()


@pytest.fixture
async def resolver(names: DeadNames) -> AsyncIterator[ThreadedResolver]:
    resolver = ThreadedResolver(names)
    yield resolver
    await resolver.aclose()


async def test_the_system_resolver_does_not_use_its_search_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Not every machine has a search list, or a server with names of it.
    requested: list[str] = []
    of_the_system = socket.getaddrinfo

    def record(host: str, port: int, type: socket.SocketKind) -> Any:  # noqa: A002 as it is called
        requested.append(host)
        return of_the_system("127.0.0.1", port, type=type)

    monkeypatch.setattr(socket, "getaddrinfo", record)
    resolver = ThreadedResolver()
    assert await resolver("wiki.intranet", 80) == [IPv4Address("127.0.0.1")]
    assert requested == ["wiki.intranet."]
    await resolver.aclose()


async def test_a_failed_look_up_of_the_system_is_an_os_error() -> None:
    resolver = ThreadedResolver()
    with pytest.raises(OSError, match=r"\[Errno -"):
        await resolver("a." * 199 + "a", 80)
    await resolver.aclose()


async def test_waiting_callers_share_one_look_up(
    resolver: ThreadedResolver, names: DeadNames
) -> None:
    waiting = [asyncio.create_task(resolver("dead.example", 80)) for _ in range(200)]
    await asyncio.sleep(0)
    names.released.set()
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in errors} == {socket.gaierror}
    assert names.asked["dead.example"] == 1


async def test_a_hung_site_leaves_threads_for_others(
    resolver: ThreadedResolver, names: DeadNames
) -> None:
    hung = [asyncio.create_task(resolver(f"{n}.dead.example", 80)) for n in range(200)]
    await asyncio.to_thread(names.all_lanes_taken.wait, 10)
    assert await asyncio.wait_for(resolver("images.example", 80), 10) == FOUND
    assert names.asked.total() == THREADS_PER_SITE + 1
    for task in hung:
        task.cancel()
    await asyncio.gather(*hung, return_exceptions=True)


async def test_a_caller_that_times_out_does_not_cancel_the_look_up(
    resolver: ThreadedResolver, names: DeadNames
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await resolver("dead.example", 80)
    again = asyncio.create_task(resolver("dead.example", 80))
    await asyncio.sleep(0)
    names.released.set()
    with pytest.raises(socket.gaierror):
        await again
    assert names.asked["dead.example"] == 1


async def test_closing_cancels_waiting_callers(names: DeadNames) -> None:
    resolver = ThreadedResolver(names)
    waiting = asyncio.create_task(resolver("dead.example", 80))
    await asyncio.sleep(0)
    await resolver.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
