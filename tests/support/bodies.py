"""Request bodies as a gateway receives them, without a gateway."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import Request

from api.body.formats.fields import Fields, parse_fields
from api.body.receiving.budget import BodyBudget
from api.body.receiving.headers import BodyFormat, BodyHeaders, read_body_headers
from api.body.receiving.receive import BodyReceiver
from api.body.receiving.spool import Spool

BUDGET: Final = 400_000_000
TENANT_ID: Final = 7


@asynccontextmanager
async def open_spool(content: bytes = b"") -> AsyncIterator[Spool]:
    """Yield a spool with `content`, and close it."""
    with ThreadPoolExecutor(1) as executor:
        spool = Spool(executor)
        try:
            await spool.write(content)
            yield spool
        finally:
            spool.close()


@asynccontextmanager
async def received(
    request: Request, max_bytes: int = 100_000_000, *, keys: tuple[str, ...] = ()
) -> AsyncIterator[tuple[Spool, BodyHeaders]]:
    """Receive a request's body; the sender is unknown if `keys` are given, the valid ones."""

    async def find_tenant(key: str) -> int | None:
        return TENANT_ID if key in keys else None

    reservation = BodyBudget(BUDGET).reserve("192.0.2.1", None)
    headers = read_body_headers(request.headers, max_bytes)
    async with open_spool() as spool:
        receiver = BodyReceiver(spool, reservation, find_tenant, headers, is_known=not keys)
        await receiver.receive(request, max_bytes)
        yield spool, headers


@asynccontextmanager
async def parsed(request: Request, max_bytes: int = 100_000_000) -> AsyncIterator[Fields]:
    """Receive and parse the body of a request whose sender is known."""
    async with received(request, max_bytes) as (spool, headers):
        yield parse_fields(spool, headers)


async def parse_content(
    content: bytes, body_format: BodyFormat = BodyFormat.JSON, boundary: bytes = b""
) -> Fields:
    """Parse a body without long values."""
    async with open_spool(content) as spool:
        return parse_fields(spool, BodyHeaders(body_format, boundary=boundary))
