"""One HTTP request and its response on a dedicated connection, with size limits."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from httpcore2 import URL, AsyncHTTP11Connection, RemoteProtocolError, Request, Response

from common.outbound.connector import Connector
from common.outbound.errors import ExchangeError, Reason
from common.outbound.stream import CappedStream
from common.outbound.url import Target

# Allowed bytes on the wire per byte of body, for chunked framing; servers send chunks of kilobytes.
FRAMING: Final = 2

# A body may arrive in this many pieces of any size; further ones must have this mean size in bytes.
# Each piece costs the same to parse: 20 MB in chunks of one byte would occupy a core for minutes.
FREE_PIECES: Final = 4096
MEAN_PIECE: Final = 256

# Content encodings that leave the body as it is.
PLAIN: Final = frozenset({"", "identity", "none"})

# The parser accepts any version number, although later versions are other protocols.
VERSIONS: Final = frozenset({b"HTTP/1.0", b"HTTP/1.1"})

# Errors raised when the peer misbehaves or the connection breaks.
CONNECTION_ERRORS: Final = (RemoteProtocolError, ExchangeError, OSError)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response whose head has been read; header names are lower case, repeated headers joined."""

    status: int
    headers: Mapping[str, str]
    response: Response
    stream: CappedStream

    @property
    def is_encoded(self) -> bool:
        """Whether the body has a content encoding, although the request asked for `identity`.

        `none` and an empty header are not registered, but object stores send them for plain files.
        """
        encodings = self.headers.get("content-encoding", "").lower().split(",")
        return not {encoding.strip() for encoding in encodings} <= PLAIN

    @property
    def declared_bytes(self) -> int:
        """The length of the body according to the Content-Length header; 0 if it is missing."""
        return int(self.headers.get("content-length", 0))

    async def read(self, limit: int, *, may_be_cut: bool = False) -> bytes:
        """Read and return at most `limit` bytes of the body.

        With `may_be_cut`, return the bytes received so far if the connection breaks before the end
        of the body.
        """
        self.stream.allowance += FRAMING * limit
        body = bytearray()
        pieces = 0
        try:
            async with aclosing(self.response.aiter_stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    pieces += 1
                    if len(body) >= limit:
                        break
                    if (pieces - FREE_PIECES) * MEAN_PIECE > len(body):
                        raise ExchangeError(Reason.PROTOCOL, "the body's chunks are too small")
        except CONNECTION_ERRORS:
            if not may_be_cut:
                raise
        del body[limit:]  # in place: a slice would copy an image of megabytes
        return bytes(body)


@asynccontextmanager
async def send_request(
    connector: Connector, target: Target, method: str, headers: Mapping[str, str], body: bytes = b""
) -> AsyncIterator[HttpResponse]:
    """Send a request and yield the response once its head is read; then close the connection.

    Raises:
        AddressNotAllowedError: the host name resolves to an address that is not allowed.
        ExchangeError: no response was received, or the response is malformed.
    """
    stream = await connector.connect(target)
    url = URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    lines = {
        "host": target.authority,
        "connection": "close",
        "accept-encoding": "identity",
        **headers,
    }
    try:
        connection = AsyncHTTP11Connection(url.origin, stream)
        request = Request(method, url, headers=list(lines.items()), content=body)
        response = await connection.handle_async_request(request)
        if response.extensions["http_version"] not in VERSIONS:
            raise ExchangeError(Reason.PROTOCOL, "unsupported version of HTTP")
        yield HttpResponse(response.status, _join_headers(response.headers), response, stream)
    except (RemoteProtocolError, OSError) as error:
        raise ExchangeError(Reason.PROTOCOL, str(error)) from error
    finally:
        await stream.aclose()


def _join_headers(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("ascii").lower()
        value = raw_value.decode("utf-8", "replace")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
