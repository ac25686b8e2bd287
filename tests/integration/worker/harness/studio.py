"""Where the tests' engines ask what to do: it sees every generation and answers as told."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.integration.worker.harness.engine import SOCKET
from tests.support.connections import serving

DEADLINE_SECONDS = 30.0


@dataclass(slots=True)
class Answer:
    """`draw`, or a key of `engine.ERRORS`; with `hold`, only once that is set."""

    text: str = "draw"
    hold: asyncio.Event | None = None


@dataclass(slots=True)
class Order:
    """One generation: what was asked, by which process, and how it ended."""

    prompt: str
    model: str
    pixels: list[Any]
    process: int
    stopped: bool = False  # the engine left before it was answered
    ended: bool = False


@dataclass(slots=True)
class Studio:
    """Gives its answers in turn, and `draw` when there are none left."""

    folder: Path
    answers: deque[Answer] = field(default_factory=deque)
    orders: list[Order] = field(default_factory=list)
    most_at_once: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def hold_next(self) -> asyncio.Event:
        """Let the next generation last until the event is set."""
        hold = asyncio.Event()
        self.answers.append(Answer(hold=hold))
        return hold

    async def order(self, number: int = 1) -> Order:
        """Give the first, second … generation once it has begun."""
        await self.until(lambda: len(self.orders) >= number)
        return self.orders[number - 1]

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(so)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        order = Order(**json.loads(await reader.readline()))
        answer = self.answers.popleft() if self.answers else Answer()
        self.orders.append(order)
        self.most_at_once = max(self.most_at_once, sum(not order.ended for order in self.orders))
        await self._note()
        if answer.hold is not None:
            order.stopped = await _left(reader, answer.hold)
        # Before the answer: once the engine has it the next generation may begin.
        order.ended = True
        writer.write(answer.text.encode())
        writer.close()
        await self._note()

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def _left(reader: asyncio.StreamReader, hold: asyncio.Event) -> bool:
    """Wait until the engine has gone, or may draw; tell whether it has gone."""
    gone, may_draw = asyncio.create_task(reader.read()), asyncio.create_task(hold.wait())
    done, pending = await asyncio.wait({gone, may_draw}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return may_draw not in done


@asynccontextmanager
async def open_studio(folder: Path) -> AsyncIterator[Studio]:
    """Answer the engines that look for a studio in `folder` while the block lasts."""
    studio = Studio(folder)
    async with serving(studio.serve, partial(asyncio.start_unix_server, path=folder / SOCKET)):
        yield studio
