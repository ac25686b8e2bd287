"""Receive the bytes of a body: decompress, count, scan for an API key, spool within the budget."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from starlette.requests import ClientDisconnect, Request

from api.body.receiving.budget import BodyReservation
from api.body.receiving.gzip import GzipReader
from api.body.receiving.headers import BodyHeaders, is_gzip
from api.body.receiving.key_scan import KeyScanner
from api.body.receiving.spool import SMALL_BYTES, Spool
from api.body.receiving.structure import limits_for
from api.errors.api_error import (
    BodyTooLargeError,
    MalformedBodyError,
    UnavailableError,
    WrongKeyError,
)

# Returns the tenant that owns an API key, or None.
FindTenant = Callable[[str], Awaitable[int | None]]
_DISCONNECTED: Final = "The connection closed before the body was complete."

log = structlog.get_logger(__name__)


class BodyReceiver:
    """Receiver of one body, whose sender is known by a key in a header, or else unknown.

    A small body is received as it is. A larger one of an unknown sender is scanned for a key, and
    charged to the sender's address until the key of a tenant is found.
    """

    def __init__(
        self,
        spool: Spool,
        reservation: BodyReservation,
        find_tenant: FindTenant,
        headers: BodyHeaders,
        *,
        is_known: bool,
    ) -> None:
        self._spool = spool
        self._reservation = reservation
        self._find_tenant = find_tenant
        self._limits = limits_for(headers.format)
        self._scanner = KeyScanner()
        self._is_known = is_known

    async def receive(self, request: Request, max_bytes: int) -> None:
        """Read the whole body into the spool.

        Raises:
            BodyTooLargeError: the body is too large.
            BodyBudgetSpentError: the bodies being received occupy the whole budget.
            MalformedBodyError: the body exceeds a limit on its structure, is not valid gzip, or
                ends early because the caller disconnected.
            WrongKeyError: a large body contains no key of a tenant.
            UnavailableError: the body could not be written to a temporary file.
        """
        async for piece in stream_body(request, max_bytes):
            await self._take(piece)
        if not self._is_known and self._spool.size > SMALL_BYTES:
            raise WrongKeyError

    async def _take(self, piece: bytes) -> None:
        self._limits.feed(piece)
        size = self._spool.size + len(piece)
        if size > SMALL_BYTES:
            self._reservation.grow_to(size)
            if not self._is_known:
                self._is_known = await self._find_key(piece)
        await self._write(piece)

    async def _find_key(self, piece: bytes) -> bool:
        # The parts of a body are not scanned before it is large.
        unscanned = self._spool.read(0, SMALL_BYTES) if self._spool.size <= SMALL_BYTES else b""
        for key in self._scanner.feed(unscanned + piece):
            tenant_id = await self._find_tenant(key)
            if tenant_id is not None:
                self._reservation.assign(tenant_id)
                return True
        return False

    async def _write(self, piece: bytes) -> None:
        try:
            await self._spool.write(piece)
        except OSError as error:
            log.warning("body_not_spooled", error=str(error))
            raise UnavailableError(
                "The request body could not be stored temporarily.", code="spool_unavailable"
            ) from error


async def stream_body(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body in chunks, decompressed if its content encoding is gzip.

    Raises:
        BodyTooLargeError: the body, decompressed or not, exceeds `max_bytes`.
        UnsupportedContentEncodingError: the content encoding is neither gzip nor identity.
        MalformedBodyError: the body is not valid gzip, or the caller disconnected.
    """
    reader = GzipReader() if is_gzip(request.headers) else None
    size = 0
    try:
        async for chunk in request.stream():
            for piece in (chunk,) if reader is None else reader.feed(chunk):
                size += len(piece)
                if size > max_bytes:
                    raise BodyTooLargeError(max_bytes)
                yield piece
    except ClientDisconnect as error:
        # Nobody reads this response, but it keeps disconnected callers out of the error log.
        raise MalformedBodyError(_DISCONNECTED) from error
    if reader is not None:
        reader.finish()
