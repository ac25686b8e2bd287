"""Fetching an image: accepted, rejected and cut off (`tests.hostile.tables.http_responses`)."""

import asyncio

import pytest

from common.domain.errors import FetchFailedError, FetchRejectedError
from common.outbound import Guard
from common.settings import OutboundSettings
from tests.hostile.servers.peers import Script, listening, says, says_and_stays
from tests.hostile.tables import http_responses as answers


@pytest.mark.parametrize(("response", "image"), answers.TAKEN)
async def test_an_image_is_fetched(guard: Guard, response: bytes, image: bytes) -> None:
    async with listening(says(response)) as peer:
        assert await guard.fetch(peer.url()) == image


@pytest.mark.parametrize(("response", "message"), answers.LISTED_REJECTED + answers.REJECTED)
async def test_a_response_without_an_acceptable_image_is_rejected(
    guard: Guard, response: bytes, message: str
) -> None:
    """The peer keeps the connection open: the result is known without waiting for its end."""
    async with listening(says_and_stays(response)) as peer:
        with pytest.raises(FetchRejectedError) as caught:
            await guard.fetch(peer.url())
        assert caught.value.message.startswith("could not fetch the image: ")
        assert message in caught.value.message
        await asyncio.wait_for(peer.left.wait(), 5)


@pytest.mark.parametrize("status", [500, 502, 503, 599])
async def test_a_5xx_response_is_a_failed_fetch(guard: Guard, status: int) -> None:
    response = f"HTTP/1.1 {status} Oh\r\ncontent-length: 6\r\n\r\nbanner".encode()
    async with listening(says(response)) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await guard.fetch(peer.url())
    assert caught.value.reason == "http_5xx"
    assert caught.value.message == f"could not fetch the image: HTTP {status}"


@pytest.mark.parametrize("status", [408, 425, 429, 503])
@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("retry-after: 30\r\n", 30, 30),
        ("Retry-After: Thu, 01 Jan 2099 00:00:00 GMT\r\n", 10**9, 10**10),
        ("retry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n", 0, 0),
        ("retry-after: soon\r\n", 0, 0),
        ("retry-after: -30\r\n", 0, 0),
        ("retry-after: 1\r\nretry-after: 2\r\n", 0, 0),
        ("", 0, 0),
    ],
)
async def test_a_busy_host_is_a_failed_fetch_with_the_wait_it_asks_for(
    guard: Guard, status: int, header: str, least: int, most: int
) -> None:
    response = f"HTTP/1.1 {status} Later\r\n{header}content-length: 0\r\n\r\n".encode()
    async with listening(says(response)) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await guard.fetch(peer.url())
    assert caught.value.message == f"could not fetch the image: HTTP {status}"
    assert caught.value.reason == ("http_5xx" if status == 503 else "busy")
    assert least <= caught.value.wait_seconds <= most


@pytest.mark.parametrize(("what", "script"), answers.LISTED_BROKEN + answers.BROKEN)
async def test_a_malformed_response(guard: Guard, what: str, script: Script) -> None:
    async with listening(script) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await guard.fetch(peer.url())
        assert caught.value.reason == "protocol", what
        assert (
            caught.value.message
            == "could not fetch the image: the host could not be reached or sent no valid response"
        )
        assert caught.value.detail
        await asyncio.wait_for(peer.left.wait(), 5)


@pytest.mark.parametrize(("what", "script"), answers.LISTED_TOO_MUCH + answers.TOO_MUCH)
async def test_a_body_that_is_too_large_is_cut_off(guard: Guard, what: str, script: Script) -> None:
    async with listening(script) as peer:
        with pytest.raises(FetchRejectedError, match="too large, at most 1000 bytes"):
            await guard.fetch(peer.url())
        await asyncio.wait_for(peer.left.wait(), 5), what


@pytest.mark.parametrize(("what", "script"), answers.CRUMBS)
async def test_a_body_in_tiny_chunks_is_cut_off(
    settings: OutboundSettings, what: str, script: Script
) -> None:
    """Otherwise one host could occupy a core, and a worker's event loop, until the deadline."""
    guard = Guard(settings.model_copy(update={"image_max_bytes": 20_000_000}))
    async with listening(script) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await guard.fetch(peer.url())
        assert (caught.value.reason, caught.value.detail) == (
            "protocol",
            "the body's chunks are too small",
        ), what
        await asyncio.wait_for(peer.left.wait(), 5)


async def test_large_bodies_in_small_packets_are_fetched(settings: OutboundSettings) -> None:
    """The smallest packets of the Internet, 536 bytes each, are large enough."""
    guard = Guard(settings.model_copy(update={"image_max_bytes": 20_000_000}))
    body = (b"218\r\n" + b"x" * 536 + b"\r\n") * 20_000
    async with listening(says(answers.CHUNKED + body + b"0\r\n\r\n")) as peer:
        assert len(await guard.fetch(peer.url())) == 536 * 20_000


@pytest.mark.parametrize(("what", "script"), answers.LISTED_SLOW + answers.SLOW)
async def test_a_slow_host_is_cut_off_by_the_deadline(
    hasty: Guard, what: str, script: Script
) -> None:
    async with listening(script) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await hasty.fetch(peer.url())
        assert caught.value.reason == "timeout", what
        assert caught.value.message == "could not fetch the image: timed out"
