"""Start requests in portions, in turn between clients, so that no burst delays the others."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

# The first step of a request takes up to half a millisecond.
PER_ITERATION: Final = 8

Begin = Callable[[], None]


class FairStarts:
    """Queue of requests to start, at most `PER_ITERATION` in one iteration of the event loop.

    Without it, the first steps of a thousand requests that arrive together run in one iteration,
    and every other request waits for them at each of its own steps. The queue takes one request of
    each client (by address) in turn.
    """

    def __init__(self) -> None:
        self._waiting: dict[str | None, deque[Begin]] = {}
        self._started = 0  # in this iteration
        self._is_scheduled = False

    def start(self, client: str | None, begin: Begin) -> None:
        """Call `begin` now, or in a later iteration if this one has started enough."""
        if self._started < PER_ITERATION and not self._waiting:
            self._started += 1
            begin()
        else:
            self._waiting.setdefault(client, deque()).append(begin)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._continue)

    def _continue(self) -> None:
        self._started = 0
        while self._waiting and self._started < PER_ITERATION:
            self._started += 1
            self._start_next()
        self._is_scheduled = self._started > 0
        if self._is_scheduled:
            asyncio.get_running_loop().call_soon(self._continue)

    def _start_next(self) -> None:
        client = next(iter(self._waiting))
        requests = self._waiting.pop(client)
        begin = requests.popleft()
        if requests:
            self._waiting[client] = requests  # behind the other clients
        begin()
