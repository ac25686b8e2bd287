"""The test's control over its engines: it records every generation and sets its outcome."""

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
class EngineResponse:
    """`generate`, or a key of `engine.ERRORS`; with `hold`, sent only once that is set."""

    text: str = "generate"
    hold: asyncio.Event | None = None


@dataclass(slots=True)
class Generation:
    """One generation: the request, the process that runs it, and how it ended."""

    prompt: str
    model: str
    pixels: list[Any]
    process: int
    stopped: bool = False  # the engine disconnected before the response
    ended: bool = False


@dataclass(slots=True)
class EngineControl:
    """Sends its responses in order, and `generate` when none are left."""

    folder: Path
    responses: deque[EngineResponse] = field(default_factory=deque)
    generations: list[Generation] = field(default_factory=list)
    most_at_once: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def hold_next(self) -> asyncio.Event:
        """Return an event; the next generation lasts until it is set."""
        hold = asyncio.Event()
        self.responses.append(EngineResponse(hold=hold))
        return hold

    async def generation(self, number: int = 1) -> Generation:
        """Return the first, second … generation once it has started."""
        await self.wait_until(lambda: len(self.generations) >= number)
        return self.generations[number - 1]

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(condition)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation = Generation(**json.loads(await reader.readline()))
        response = self.responses.popleft() if self.responses else EngineResponse()
        self.generations.append(generation)
        self.most_at_once = max(
            self.most_at_once, sum(not generation.ended for generation in self.generations)
        )
        await self._notify()
        if response.hold is not None:
            generation.stopped = await _left(reader, response.hold)
        # Before the response: once the engine has it the next generation may begin.
        generation.ended = True
        writer.write(response.text.encode())
        writer.close()
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def _left(reader: asyncio.StreamReader, hold: asyncio.Event) -> bool:
    """Wait until the engine disconnects or `hold` is set; return whether it disconnected."""
    gone, released = asyncio.create_task(reader.read()), asyncio.create_task(hold.wait())
    done, pending = await asyncio.wait({gone, released}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return released not in done


@asynccontextmanager
async def open_engine_control(folder: Path) -> AsyncIterator[EngineControl]:
    """Serve the engines that connect to the socket in `folder` while the block lasts."""
    engine_control = EngineControl(folder)
    async with serving(
        engine_control.serve, partial(asyncio.start_unix_server, path=folder / SOCKET)
    ):
        yield engine_control
