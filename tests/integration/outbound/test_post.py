"""Posting a webhook: every status is a response, and no receiver delays us too long."""

import asyncio
import gzip

import pytest

from common.domain.errors import AddressNotAllowedError, FetchFailedError
from common.outbound import Guard, WebhookResponse
from common.settings import OutboundSettings
from tests.hostile.servers.peers import (
    OK,
    Names,
    Peer,
    Script,
    deafness,
    listening,
    repeats,
    says,
    says_and_stays,
    silence,
)

HEAD = b"HTTP/1.1 200 OK\r\n"


async def post(
    guard: Guard, url: str, *, seconds: float = 10, body: bytes = b"{}"
) -> WebhookResponse:
    return await guard.post(
        url,
        headers={"webhook-id": "msg_1", "content-type": "application/json"},
        body=body,
        timeout_seconds=seconds,
        response_bytes=5,
    )


async def test_the_request_has_exactly_the_expected_headers(guard: Guard, names: Names) -> None:
    names.add("hooks.example", ["127.0.0.1"])
    async with listening(says(OK)) as peer:
        response = await post(guard, peer.url("/in?a=b", host="hooks.example"), body=b'{"id": 7}')
        assert peer.received == (
            b"POST /in?a=b HTTP/1.1\r\n"
            b"host: hooks.example:%d\r\n"
            b"connection: close\r\n"
            b"accept-encoding: identity\r\n"
            b"content-length: 9\r\n"
            b"webhook-id: msg_1\r\n"
            b"content-type: application/json\r\n"
            b"\r\n"
            b'{"id": 7}' % peer.port
        )
    assert (response.status, response.excerpt) == (200, b"ok")
    assert response.duration_seconds > 0


@pytest.mark.parametrize(
    ("raw", "status", "excerpt"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone", 404, b"gone"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", 500, b""),
        (HEAD + b"content-length: 9\r\n\r\n123456789", 200, b"12345"),
        (HEAD + b"content-length: 99999999999\r\n\r\n123456789", 200, b"12345"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\n123\r\n3\r\n456\r\n", 200, b"12345"),
        (HEAD + b"content-encoding: gzip\r\n\r\n" + gzip.compress(bytes(10**6)), 200, b""),
    ],
)
async def test_every_status_is_a_response(
    guard: Guard, raw: bytes, status: int, excerpt: bytes
) -> None:
    async with listening(says_and_stays(raw)) as peer:
        response = await post(guard, peer.url())
        assert (response.status, response.excerpt) == (status, excerpt)
        await asyncio.wait_for(peer.left.wait(), 5)


@pytest.mark.parametrize(
    "rest",
    [
        b"content-length: 10\r\n\r\nok",
        b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
        b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n1;" + b"a" * 20_000,
    ],
    ids=["ends too soon", "no chunk length", "chunk extension"],
)
async def test_a_broken_body_does_not_change_the_status(guard: Guard, rest: bytes) -> None:
    async with listening(says(HEAD + rest)) as peer:
        response = await post(guard, peer.url())
    assert (response.status, response.excerpt) == (200, b"ok")


async def test_redirects_are_not_followed(guard: Guard, forbidden: Peer) -> None:
    moved = f"HTTP/1.1 302 Found\r\nlocation: {forbidden.url()}\r\n\r\n".encode()
    async with listening(says(moved)) as peer:
        response = await post(guard, peer.url())
    assert response.status == 302
    assert response.headers["location"] == forbidden.url()


async def test_http_is_rejected_if_webhooks_require_https(settings: OutboundSettings) -> None:
    guard = Guard(settings.model_copy(update={"webhooks_https_only": True}))
    async with listening(silence) as peer:
        with pytest.raises(AddressNotAllowedError):
            await post(guard, peer.url())
        assert peer.connections == 0


async def test_headers_of_the_response_are_lower_case(guard: Guard) -> None:
    raw = b"HTTP/1.1 429 Slow\r\nRetry-After: 120\r\nVary: a\r\nVARY: b\r\n\r\n"
    async with listening(says(raw)) as peer:
        response = await post(guard, peer.url())
    assert response.headers == {"retry-after": "120", "vary": "a, b"}


SLOW: list[tuple[str, Script]] = [
    ("sends nothing", silence),
    ("never reads", deafness),
    ("drips a head", repeats(HEAD + b"x: ", b"a", pause_seconds=0.02)),
    (
        "drips a body",
        repeats(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"0", pause_seconds=0.02),
    ),
    ("stops in the body", says_and_stays(HEAD + b"content-length: 3\r\n\r\nok")),
]


@pytest.mark.parametrize(("what", "script"), SLOW, ids=[what for what, _ in SLOW])
async def test_one_deadline_covers_everything(guard: Guard, what: str, script: Script) -> None:
    async with listening(script) as peer:
        with pytest.raises(FetchFailedError) as caught:
            # More than the sockets between us hold: a peer that never reads stops us too.
            await post(guard, peer.url(), seconds=0.3, body=bytes(20_000_000))
        assert caught.value.reason == "timeout", what
        assert caught.value.message == "could not deliver the webhook: timed out"


@pytest.mark.parametrize(
    "raw",
    [
        b"220 mail.example ESMTP\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nSSH",
        HEAD + b"x: " + b"a" * 20_000 + b"\r\n\r\n",
    ],
    ids=["another protocol", "changes protocol unasked", "header too large"],
)
async def test_a_malformed_response(guard: Guard, raw: bytes) -> None:
    async with listening(says_and_stays(raw)) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await post(guard, peer.url())
        await asyncio.wait_for(peer.left.wait(), 5)
    assert caught.value.reason == "protocol"
    assert (
        caught.value.message
        == "could not deliver the webhook: the host could not be reached or sent no valid response"
    )


async def test_a_response_before_the_body_was_read_is_no_timeout(guard: Guard) -> None:
    async def hasty_receiver(
        _peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with listening(hasty_receiver) as peer:
        response_or_error: WebhookResponse | FetchFailedError
        try:
            response_or_error = await post(guard, peer.url(), body=bytes(20_000_000))
        except FetchFailedError as error:
            response_or_error = error
    # It depends on whether the reset or the response arrives first; neither is a timeout.
    assert isinstance(response_or_error, WebhookResponse) or response_or_error.reason == "protocol"
