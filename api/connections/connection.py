"""One HTTP/1.1 connection: uvicorn's protocol with deadlines, limits and an orderly end.

The connection cuts the byte stream into heads and bodies itself, and passes to the parser (llhttp)
the bytes of one request at a time. So a request is parsed when the response to the one before is
complete, and an upgrade to another protocol cannot change where a request ends. If the parser sees
the end of a request elsewhere, the connection is closed.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.connections.addresses import parse_address
from api.connections.chunks import ChunkScanner
from api.connections.exchange import Exchange
from api.connections.head import IGNORED, check_head, cut_head, is_chunked
from api.connections.http_error import HttpError, malformed, render_response
from api.connections.pace import Pace
from api.connections.phases import Phase
from api.connections.table import ConnectionTable
from common.runtime.clock import monotonic

# Bodies above this size cost much more than a small request, whatever becomes of them.
LARGE_BYTES: Final = 65_536
KEY_HEADERS: Final = frozenset({b"key", b"authorization"})
# Bytes of later requests that are buffered before reading pauses.
MAX_PIPELINED_BYTES: Final = 16_384


class Connection(HttpToolsProtocol):
    """One connection of a gateway; `table` knows all of them."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        table: ConnectionTable,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        limits = table.limits
        self._table = table
        self._limits = limits
        self.client_key: str | None = None
        self._request_key: str | None = None  # the forwarded address of the current request
        self._phase = Phase.HEAD
        self._deadline = 0.0
        self._body_pace = Pace(limits.bytes_per_second, limits.body_seconds)
        self._drain_pace = Pace(limits.bytes_per_second, limits.drain_pause_seconds)
        self._response_pace = Pace(limits.bytes_per_second, limits.response_seconds)
        self._written = self._sent = self._drained = 0
        # What has arrived and is not parsed; its first `_searched` bytes contain no end of a head.
        self._buffer = bytearray()
        self._searched = 0
        # The current request.
        self._response_due = False
        self._head_complete = False
        self._message_complete = True
        self._version = "1.1"
        self._keep_alive = True
        self._scanner: ChunkScanner | None = None
        self._unread = 0  # bytes of the body by its Content-Length
        # The end of the connection.
        self._discarding = False  # whatever arrives is not even parsed
        self._closing = False  # closes after this request
        self._stopping = False  # the server stops

    # Called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Add the connection to the table, which may refuse it or close another one."""
        super().connection_made(transport)
        self._peer = parse_address(self.client[0]) if self.client else None
        self.client_key = self._table.key_of(self._peer)
        self._enter(Phase.HEAD)
        self._response_pace.restart(monotonic())
        self._table.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the table; the application learns that the client is gone."""
        super().connection_lost(exc)
        self._table.discard(self)
        self._end_request()
        # The two refer to each other, and would wait for the garbage collector, whose pauses every
        # client would notice.
        self.cycle = None  # type: ignore[assignment] # as before the first request

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, as far as the responses have come."""
        if self.transport.is_closing():
            return
        now = monotonic()
        if self._phase is Phase.BODY:
            self._body_pace.advance(len(data), now)
        elif self._phase is Phase.DRAINING:
            self._drain_pace.advance(len(data), now)
            self._drained += len(data)
            if self._drained > self._limits.drain_bytes:
                self.transport.close()
                return
        if not self._discarding:
            self._buffer += data
            self._proceed()

    # Called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """Record a header, except an upgrade and trailers, which are ignored."""
        if name != IGNORED and not self._head_complete:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Record what only the parser knows, and only now."""
        self._head_complete = True
        self._version = self.parser.get_http_version()
        self._keep_alive = self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """Record the end of a request."""
        self._message_complete = True
        if self._is_exchange_active():
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # Called by the exchange, for which this object is the transport

    def write(self, data: bytes) -> None:
        """Write a part of a response."""
        self._written += len(data)
        self.transport.write(data)

    def is_closing(self) -> bool:
        """Return whether nothing can be written any more."""
        return self.transport.is_closing()

    def close(self) -> None:
        """Close the connection after a response, once the rest of the request is discarded.

        Closing with unread bytes would reset the connection, and a client that sends its whole
        request before it reads would never read the response.
        """
        if self._message_complete and not self.flow.read_paused:
            self.transport.close()
            return
        self._closing = True
        self._stop_writing()

    def on_response_complete(self) -> None:
        """Continue with the next request."""
        self.server_state.total_requests += 1
        self._response_due = False
        self._end_request()
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._proceed()

    # Called by the table and by the server

    def turn_away(self, error: HttpError) -> None:
        """Send this error without having read a request, and close the connection."""
        self._response_due = True
        self._refuse(error)

    def evict(self) -> None:
        """Close the connection at once, because there are too many."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        message = "Too many connections; retry in a few seconds."
        self._abandon(HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "evicted", message))
        self.transport.close()

    def check_deadlines(self, now: float) -> None:
        """Close the connection if its client is too slow.

        The time in which the client waits for the application does not count.
        """
        self._check_response(now)
        if self.transport.is_closing():
            return
        if self._phase is Phase.BODY:
            self._check_body(now)
        elif self._phase is Phase.DRAINING:
            if now >= self._deadline or self._drain_pace.is_late(now):
                self.transport.close()
        elif self._phase is Phase.IDLE and now >= self._deadline:
            self.transport.close()
        elif self._phase is Phase.HEAD and now >= self._deadline:
            self._close_at_once(_late("head"))

    def shutdown(self) -> None:
        """Close the connection, or do so once all requests that have arrived are served."""
        self._stopping = True
        if self._phase not in {Phase.BODY, Phase.WORKING}:
            self.transport.close()

    # Parsing

    def _proceed(self) -> None:
        try:
            while self._buffer and self._parse_next():
                pass
        except HttpError as error:
            self._refuse(error)
            return
        if self._phase is not Phase.BODY and len(self._buffer) > MAX_PIPELINED_BYTES:
            self.flow.pause_reading()
        self._update_phase()

    def _parse_next(self) -> bool:
        """Parse a head or a part of a body; return False if that is not possible yet."""
        if not self._message_complete:
            self._read_body()
            return True
        if self._is_exchange_active() or self._closing:
            return False
        self._response_due = True
        head = cut_head(self._buffer, self._searched)
        self._searched = len(self._buffer) if head is None else 0
        if head is not None:
            self._begin_request(check_head(head))
        return head is not None

    def _begin_request(self, head: bytes) -> None:
        self._head_complete = self._message_complete = False
        self._feed(head)
        if not self._head_complete:
            raise malformed("the headers are incomplete")
        self._scanner = ChunkScanner() if is_chunked(self._version, self.headers) else None
        lengths = [int(value) for name, value in self.headers if name == b"content-length"]
        self._unread = sum(lengths)  # the parser rejects more than one
        forwarded_for = [value for name, value in self.headers if name == b"x-forwarded-for"]
        self._complete_scope()
        self._request_key = self._table.begin_request(self._peer, forwarded_for)
        if self._request_key is not None:
            self.scope["client"] = (self._request_key, 0)  # as uvicorn does for trusted proxies
        self._start_exchange()

    def _read_body(self) -> None:
        if self._scanner is None:
            size = min(self._unread, len(self._buffer))
            self._unread -= size
            ended = not self._unread
        else:
            size = self._scanner.scan(self._buffer)
            ended = self._scanner.ended
        part = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._feed(part)
        if ended is not self._message_complete:
            raise malformed("the length of the body is ambiguous")

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise malformed(str(error)) from error

    def _complete_scope(self) -> None:
        try:
            url = httptools.parse_url(self.url)
        except httptools.HttpParserInvalidURLError as error:
            raise malformed("the URL cannot be read") from error
        if url.path is None:
            raise malformed("the URL has no path")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = self._version
        self.scope["path"] = unquote(url.path.decode("ascii"))
        self.scope["raw_path"] = url.path
        self.scope["query_string"] = url.query or b""

    def _start_exchange(self) -> None:
        self.cycle = exchange = Exchange(
            self._prepare_response,
            scope=self.scope,
            transport=cast("asyncio.Transport", self),
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and self._version == "1.1",
            keep_alive=self._version == "1.1" and self._keep_alive,
            on_response=self.on_response_complete,
        )
        if self._message_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()
        turns = self._table.unknown_senders if self._is_large_without_key() else self._table.starts
        client = self._request_key or self.client_key
        turns.run(client, lambda: self._start_asgi_task(exchange, self.app))

    def _is_large_without_key(self) -> bool:
        """Return whether a large body arrives whose sender is not known by a header."""
        if self._scanner is None and self._unread <= LARGE_BYTES:
            return False
        return not any(name in KEY_HEADERS for name, _ in self.headers)

    def _prepare_response(self, exchange: Exchange) -> None:
        """Decide whether the connection can stay open after the response."""
        if self._table.stopping and not self._buffer:
            exchange.keep_alive = False
        # A client that waits for `100 Continue` may send the body now or leave it out.
        will_not_end = exchange.waiting_for_100_continue or self._unread > self._limits.drain_bytes
        if not self._message_complete and will_not_end:
            exchange.keep_alive = False

    def _is_exchange_active(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # Phases and deadlines

    def _update_phase(self) -> None:
        if self._closing and self._message_complete and not self._discarding:
            self.transport.close()
            return
        phase = self._find_phase()
        if self._stopping and phase in {Phase.IDLE, Phase.HEAD}:
            self.transport.close()
        elif phase is not self._phase:
            self._enter(phase)
            self._table.move(self, phase)

    def _find_phase(self) -> Phase:
        if self._discarding or self._closing:
            return Phase.DRAINING
        if not self._message_complete:
            return Phase.BODY if self._is_exchange_active() else Phase.DRAINING
        if self._is_exchange_active():
            return Phase.WORKING
        return Phase.HEAD if self._buffer or self.cycle is None else Phase.IDLE

    def _enter(self, phase: Phase) -> None:
        now = monotonic()
        self._phase = phase
        if phase is Phase.HEAD:
            self._deadline = now + self._limits.head_seconds
        elif phase is Phase.IDLE:
            self._deadline = now + self._limits.idle_seconds
        elif phase is Phase.BODY:
            self._body_pace.restart(now)
        elif phase is Phase.DRAINING:
            self._deadline = now + self._limits.drain_seconds
            self._drain_pace.restart(now)
            self._drained = 0

    def _check_body(self, now: float) -> None:
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._body_pace.restart(now)
        elif self._body_pace.is_late(now):
            self._close_at_once(_late("body"))

    def _check_response(self, now: float) -> None:
        waiting = self.transport.get_write_buffer_size()
        sent = self._written - waiting
        if waiting:
            self._response_pace.advance(sent - self._sent, now)
        else:
            self._response_pace.restart(now)
        self._sent = sent
        if self._response_pace.is_late(now):
            self._table.refused.count("response_timeout", now)
            self.transport.abort()

    # The end

    def _refuse(self, error: HttpError) -> None:
        """Send an error, and discard what the client still sends, so that it reads the error."""
        self._table.refused.count(error.reason, monotonic())
        self._abandon(error)
        self._discarding = True
        self._buffer.clear()
        self._stop_writing()

    def _close_at_once(self, error: HttpError) -> None:
        self._table.refused.count(error.reason, monotonic())
        self._abandon(error)
        self.transport.close()

    def _abandon(self, error: HttpError) -> None:
        """End the request that is due a response, with `error` if nothing has been sent."""
        started = False
        if self._is_exchange_active():
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()
        if self._response_due and not started:
            self.write(render_response(error, self.server_state.default_headers))
        self._response_due = False

    def _stop_writing(self) -> None:
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._update_phase()

    def _end_request(self) -> None:
        if self._request_key is not None:
            self._table.end_request(self._request_key)
            self._request_key = None


def _late(part: str) -> HttpError:
    return HttpError(
        HTTPStatus.REQUEST_TIMEOUT,
        f"{part}_timeout",
        f"The {part} of the request arrived too slowly.",
    )
