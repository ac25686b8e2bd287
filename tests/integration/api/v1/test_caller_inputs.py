"""Inputs of callers and the responses to them, as one table for each kind of input."""

from base64 import urlsafe_b64encode
from typing import Any

import orjson
import pytest

from tests.integration.api.v1.harness import WebhookHarness
from tests.support.receiver import Receiver
from tests.support.requests import INPAINT_BODY

RANGE = "must be in the years 1 to 9999 in UTC"
TRACK = (
    "must be null, text of at most 1000 characters without NUL, or a number between -2^63 and 2^63"
)
CURSOR = "must be the next_cursor of an earlier page of this list, unchanged"

# (URL, end of the message)
URLS = [
    ("example.com/hook", "the URL does not start with http:// or https:// and a host."),
    ("https://u:p@example.com/", "the URL has a user name or a password, which are not sent."),
    ("https://example.com:99999/", "the port in the URL is not a number from 1 to 65535."),
    ("https://redis/", "the host name in the URL has no dot."),
    ("https://example.com/" + "a" * 8192, "the URL is longer than 8192 characters."),
    ("https://10.0.0.1/", "the address is not allowed."),
    ("https://metadata.google.internal/", "the address is not allowed."),
]
TAKEN = [
    "https://example.com:/x",
    "https://example.com:0443/x",
    "https://a-.example.com/x",
    "https://❤.example.com/x",
    "https://example.com/" + "a" * 3000,
]
TIMES = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]
# As JSON, because a number's spelling is part of the input.
TRACK_IDS = [
    b"1e18",
    b"-0.0",
    b"17",
    b"17.0",
    b"7.5",
    b"1000000000000000000",
    b'"17"',
    b'"\xc3\xa4"',
]
BAD_TRACK_IDS = [b"1e300", b"-1e19", b"9223372036854775808", b"true", b"[]", b'"\\u0000"']
CURSORS = ["deliveries:+1", "deliveries:1_0", "deliveries: 1", "deliveries:\u0661", "deliveries:01"]


@pytest.mark.parametrize(("url", "message"), URLS, ids=lambda value: value[:40])
@pytest.mark.parametrize("field", ["webhook", "init_image"])
async def test_a_rejected_url(webhooks: WebhookHarness, field: str, url: str, message: str) -> None:
    body = await webhooks.gateway.post("inpaint", {**INPAINT_BODY, field: url})
    assert body["status"] == "error"
    if field == "init_image" and "://" not in url:
        message = "is not base64."  # what has no scheme is read as base64
    assert body["message"][field][0].endswith(message)
    if field == "webhook":
        code, problem = await webhooks.ask("POST", "test", {"url": url})
        assert (code, problem["errors"][0]["pointer"]) == (422, "#/url")
        assert problem["errors"][0]["detail"].endswith(message.rstrip("."))


@pytest.mark.parametrize("url", TAKEN, ids=lambda value: value[:40])
async def test_an_accepted_url(webhooks: WebhookHarness, url: str) -> None:
    asked = {**INPAINT_BODY, "init_image": url, "webhook": url}
    assert (await webhooks.gateway.post("inpaint", asked))["status"] == "processing"


@pytest.mark.parametrize("time", TIMES)
async def test_a_time_outside_the_calendar(webhooks: WebhookHarness, time: str) -> None:
    code, problem = await webhooks.ask("POST", "redeliver", {"since": time})
    assert (code, problem["errors"]) == (422, [{"pointer": "#/since", "detail": RANGE}])


@pytest.mark.parametrize("track_id", TRACK_IDS, ids=repr)
async def test_a_track_id_comes_back_as_it_was_sent(
    webhooks: WebhookHarness, receiver: Receiver, track_id: bytes
) -> None:
    sent = orjson.loads(track_id)
    job_id = await webhooks.failed(receiver.url, track_id=sent)
    assert repr((await webhooks.shown(job_id))["delivery"]["track_id"]) == repr(sent)
    async with webhooks.dispatching():
        await receiver.request()
    await webhooks.ask("POST", "test", {"url": receiver.url, "track_id": sent})
    await receiver.request(2)
    for request in receiver.requests:
        assert repr(orjson.loads(request.body)["track_id"]) == repr(sent)


@pytest.mark.parametrize("track_id", BAD_TRACK_IDS, ids=repr)
async def test_a_ping_rejects_the_track_ids_that_requests_reject(
    webhooks: WebhookHarness, track_id: bytes
) -> None:
    sent: Any = orjson.loads(track_id)
    body = await webhooks.gateway.post("inpaint", {**INPAINT_BODY, "track_id": sent})
    assert "track_id" in body["message"]
    code, problem = await webhooks.ask("POST", "test", {"url": "https://a.com", "track_id": sent})
    assert (code, problem["errors"]) == (422, [{"pointer": "#/track_id", "detail": TRACK}])


@pytest.mark.parametrize("text", CURSORS)
async def test_a_cursor_that_was_not_issued(webhooks: WebhookHarness, text: str) -> None:
    cursor = urlsafe_b64encode(text.encode()).decode().rstrip("=")
    code, problem = await webhooks.ask("GET", f"deliveries?cursor={cursor}")
    assert (code, problem["detail"]) == (422, f"cursor {CURSOR}")
