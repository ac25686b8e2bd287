"""A listener on the forbidden address that shows that nothing connected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.hostile.servers.peers import Peer, listening

FORBIDDEN: Final = "127.0.0.2"


async def _hear(peer: Peer, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while heard := await reader.read(65536):
        peer.received += heard


@asynccontextmanager
async def trap() -> AsyncIterator[Peer]:
    """Listen where nothing may arrive; check at the end of the block that nothing did.

    A connection may be established and not be noticed yet. So the trap calls itself: connections
    are taken in the order they came, and its own has to be the first.
    """
    async with listening(_hear, host=FORBIDDEN) as peer:
        yield peer
        _, writer = await asyncio.open_connection(peer.host, peer.port)
        writer.close()
        await asyncio.wait_for(peer.left.wait(), 10)
        assert (peer.connections, peer.received) == (1, b"")
