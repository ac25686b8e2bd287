"""Responses and outcomes of requests that crash."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.body.json_response import note_outcome
from api.dialects.v3.errors import render_error
from api.middleware import AccessLogMiddleware
from tests.support.requests import make_request

START: Message = {"type": "http.response.start", "status": 200, "headers": []}


class BrokenError(Exception):
    pass


async def receive_disconnect() -> Message:
    return {"type": "http.disconnect"}


class Sent:
    """Records the messages sent to the server."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)


def scope() -> Scope:
    return {"type": "http", "method": "GET", "path": "/x"}


async def test_a_crash_before_the_response_becomes_a_500() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise BrokenError("inner words")

    sent = Sent()
    await AccessLogMiddleware(app, render_error)(scope(), receive_disconnect, sent)
    assert sent.messages[0]["status"] == 500
    assert b"an error in this service" in sent.messages[1]["body"]
    assert b"inner words" not in sent.messages[1]["body"]


async def test_a_crash_within_the_response_is_raised_to_the_server() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        raise BrokenError

    sent = Sent()
    with pytest.raises(BrokenError):
        await AccessLogMiddleware(app, render_error)(scope(), receive_disconnect, sent)
    assert sent.messages == [START]


async def test_other_scopes_than_requests_pass_through() -> None:
    seen: list[Scope] = []

    async def app(given: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(given)

    await AccessLogMiddleware(app, render_error)({"type": "lifespan"}, receive_disconnect, Sent())
    assert seen == [{"type": "lifespan"}]


def test_an_outcome_without_the_middleware_is_dropped() -> None:
    note_outcome(make_request(), "success")
