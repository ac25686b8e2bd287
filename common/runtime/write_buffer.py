"""A buffer that combines concurrent writes into batches."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar

Item = TypeVar("Item")


class WriteBuffer(Generic[Item]):
    """A buffer that passes items in batches to `write`, one batch at a time, in the background.

    If no write is in progress, an added item is written at once; items added during a write form
    the next batch. `write` is called with up to `max_batch` items and must handle its own errors.
    """

    def __init__(
        self, write: Callable[[list[Item]], Awaitable[None]], *, max_batch: int | None = None
    ) -> None:
        self._write = write
        self._max_batch = max_batch
        self._items: list[Item] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, item: Item) -> None:
        """Add an item, to be written in the background; does not wait."""
        self._items.append(item)
        if self._writing is None or self._writing.done():
            # With an empty context: its log lines are not about whatever happened to come first.
            loop = asyncio.get_running_loop()
            self._writing = loop.create_task(self._write_all(), context=Context())

    async def flush(self) -> None:
        """Wait until all items added so far have been written."""
        if self._writing is not None:
            await self._writing

    async def aclose(self) -> None:
        """Cancel the write in progress, and drop unwritten items."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait({self._writing})

    async def _write_all(self) -> None:
        while self._items:
            batch = self._items[: self._max_batch]
            del self._items[: self._max_batch]
            await self._write(batch)
