"""What a tenant sees of its deliveries."""

from datetime import datetime
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from common.postgres.repositories.deliveries import log as delivery_log
from common.runtime.clock import utc_now
from tests.integration.api.gateways import BODY, URL, new_key
from tests.integration.api.v1.hooks import Hooks
from tests.support.receiver import Receiver, Reply

SHOWN = {
    "id",
    "event",
    "job_id",
    "track_id",
    "url",
    "state",
    "attempts",
    "failures",
    "created_at",
    "finished_at",
    "next_attempt_at",
    "paused_until",
    "last_attempt",
}


async def test_a_delivery_from_its_event_to_its_end(hooks: Hooks, receiver: Receiver) -> None:
    receiver.replies.append(Reply(503, {"retry-after": "600"}, body=b"busy \xff" + b"x" * 100))
    job_id = await hooks.succeeded(receiver.url, track_id="order-7")
    (waiting,) = await hooks.listed()
    assert set(waiting) == SHOWN
    assert (waiting["event"], waiting["state"]) == ("job.succeeded", "pending")
    assert (waiting["job_id"], waiting["track_id"]) == (job_id, "order-7")
    assert (waiting["attempts"], waiting["last_attempt"]) == (0, None)
    assert waiting["next_attempt_at"] == waiting["created_at"]

    async with hooks.dispatching():
        first = await receiver.request()
    shown = await hooks.shown(job_id)
    assert shown["delivery"]["id"] == first.headers["webhook-id"]
    assert (shown["delivery"]["state"], shown["delivery"]["failures"]) == ("pending", 1)
    (attempt,) = shown["attempts"]
    assert (attempt["status_code"], attempt["error"], attempt["ended_by"]) == (503, None, None)
    assert attempt["answer"].startswith("busy \N{REPLACEMENT CHARACTER}xxx")
    assert attempt["next_attempt_at"] == shown["delivery"]["next_attempt_at"]
    wait = datetime.fromisoformat(attempt["next_attempt_at"]) - utc_now()
    assert 500 < wait.total_seconds() < 601
    last = shown["delivery"]["last_attempt"]
    assert {name: attempt[name] for name in last} == last

    await hooks.set("available_at = now()")
    async with hooks.dispatching():
        await receiver.request(2)
    shown = await hooks.shown(job_id)
    assert (shown["delivery"]["state"], shown["delivery"]["next_attempt_at"]) == ("delivered", None)
    assert shown["delivery"]["finished_at"] is not None
    assert [attempt["status_code"] for attempt in shown["attempts"]] == [200, 503]
    assert (await hooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "delivered"


async def test_every_event_has_its_name_and_is_sent(hooks: Hooks, receiver: Receiver) -> None:
    url = receiver.url
    jobs = {
        await hooks.succeeded(url, track_id=1): ("job.succeeded", "success"),
        await hooks.failed(url, track_id=2): ("job.failed", "failed"),
        await hooks.canceled(url, track_id=3): ("job.canceled", "failed"),
    }
    async with hooks.dispatching():
        await receiver.request(3)
    assert {item["job_id"]: item["event"] for item in await hooks.listed()} == {
        job_id: event for job_id, (event, _) in jobs.items()
    }
    bodies = {request.json["id"]: request.json for request in receiver.requests}
    assert {job_id: body["status"] for job_id, body in bodies.items()} == {
        job_id: status for job_id, (_, status) in jobs.items()
    }
    (canceled,) = (body for body in bodies.values() if body["track_id"] == 3)
    assert canceled == {
        "status": "failed",
        "id": canceled["id"],
        "message": "canceled by its owner",
        "messege": "canceled by its owner",
        "output": [],
        "track_id": 3,
    }
    assert {item["state"] for item in await hooks.listed()} == {"delivered"}


@pytest.mark.parametrize(
    ("reply", "ended_by"),
    [
        (Reply(410), "gone"),
        (Reply(500, {"webhook-delivery": "abort-message"}), "abort_message"),
    ],
)
async def test_what_ended_it_is_told(
    hooks: Hooks, receiver: Receiver, reply: Reply, ended_by: str
) -> None:
    receiver.replies.append(reply)
    job_id = await hooks.succeeded(receiver.url)
    async with hooks.dispatching():
        await receiver.request()
    shown = await hooks.shown(job_id)
    assert (shown["delivery"]["state"], shown["attempts"][0]["ended_by"]) == ("discarded", ended_by)
    assert shown["delivery"]["last_attempt"]["ended_by"] == ended_by
    assert (await hooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "exhausted"


async def test_a_delivery_is_found_by_track_id_however_it_was_sent(hooks: Hooks) -> None:
    spelled: dict[Any, str] = {
        17: "17",
        "17": "17",
        7.5: "7.5",
        "a b&c": "a%20b%26c",
        "ü" * 1000: "%C3%BC" * 1000,
    }
    jobs = {(value, type(value)): await hooks.failed(URL, track_id=value) for value in spelled}
    await hooks.failed(URL)
    for value, spelling in spelled.items():
        found = await hooks.listed(f"?track_id={spelling}")
        told = {(item["track_id"], type(item["track_id"])): item["job_id"] for item in found}
        assert told == {key: job for key, job in jobs.items() if str(key[0]) == str(value)}
    assert await hooks.listed("?track_id=none") == []
    assert (await hooks.listed(f"?job_id={jobs[7.5, float]}"))[0]["track_id"] == 7.5


async def test_lists_are_read_a_page_at_a_time(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_log, "MOST_LOOKED_AT", 3)
    delivery_log._looking.cache_clear()
    jobs = [await hooks.failed(URL, track_id="same") for _ in range(5)]
    await hooks.gateway.run(
        "UPDATE deliveries SET state = 'exhausted', finished_at = now() WHERE job_id = $1", jobs[0]
    )
    for query in ("", "&track_id=same", "&state=pending"):
        page = await hooks.get(f"deliveries?limit=2{query}")
        seen = [item["job_id"] for item in page["items"]]
        while page["next_cursor"] is not None:
            page = await hooks.get(f"deliveries?limit=2{query}&cursor={page['next_cursor']}")
            seen += [item["job_id"] for item in page["items"]]
        assert seen == (jobs[:0:-1] if "state" in query else jobs[::-1])
    # Nothing among the latest three: the page is empty, and there is a next one.
    page = await hooks.get("deliveries?state=exhausted")
    assert (page["items"], page["next_cursor"] is None) == ([], False)
    page = await hooks.get(f"deliveries?state=exhausted&cursor={page['next_cursor']}")
    assert ([item["job_id"] for item in page["items"]], page["next_cursor"]) == ([jobs[0]], None)
    delivery_log._looking.cache_clear()


async def test_an_origin_in_trouble_is_told(hooks: Hooks) -> None:
    await hooks.failed(URL)
    await hooks.gateway.run("UPDATE tenant_origins SET open_until = now() + interval '30 seconds'")
    (item,) = await hooks.listed()
    assert item["next_attempt_at"] == item["paused_until"] > item["created_at"]
    await hooks.gateway.run("UPDATE tenant_origins SET open_until = '-infinity'")
    (item,) = await hooks.listed()
    assert (item["next_attempt_at"], item["paused_until"]) == (item["created_at"], None)


async def test_anothers_deliveries_are_as_absent_as_none(hooks: Hooks) -> None:
    job_id = await hooks.failed(URL, track_id="mine")
    (mine,) = await hooks.listed()
    bob = await new_key(hooks.gateway.services, "bob")
    for query in ("", f"?job_id={job_id}", "?track_id=mine", "?state=pending"):
        assert await hooks.ask("GET", f"deliveries{query}", key=bob) == (
            200,
            {"items": [], "next_cursor": None},
        )
    for delivery_id in (mine["id"], str(uuid4())):
        for method, path in (("GET", ""), ("POST", "/redeliver")):
            code, told = await hooks.ask(method, f"deliveries/{delivery_id}{path}", key=bob)
            detail = f"there is no delivery with the id {delivery_id}"
            assert (code, told["detail"]) == (404, detail)
    since = {"since": "2000-01-01T00:00:00Z"}
    assert (await hooks.ask("POST", "redeliver", since, key=bob))[1]["redelivered"] == 0
    assert await hooks.listed() == [mine]


async def test_who_has_no_key_is_not_let_in(hooks: Hooks) -> None:
    wrong: list[dict[str, str]] = [{}, {"authorization": "Bearer inf_junk"}, {"key": "junk"}]
    for sent, (method, path) in product(
        wrong, (("GET", "deliveries"), ("POST", "test"), ("POST", "redeliver"))
    ):
        answer = await hooks.gateway.client.request(
            method, f"/api/v1/webhooks/{path}", headers=sent, content=b"{"
        )
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "urn:infill:problem:wrong_api_key"


async def test_the_header_of_v3_opens_it_too(hooks: Hooks) -> None:
    client, headers = hooks.gateway.client, {"key": hooks.gateway.key}
    assert (await client.get("/api/v1/webhooks/deliveries", headers=headers)).status_code == 200


async def test_requests_take_tokens_like_those_that_draw(hooks: Hooks) -> None:
    await hooks.gateway.set_limits(requests_per_minute=3)
    await hooks.gateway.post("inpaint", BODY)
    headers = {"authorization": f"Bearer {hooks.gateway.key}"}
    answer = await hooks.gateway.client.get("/api/v1/webhooks/deliveries", headers=headers)
    assert answer.headers["ratelimit"].startswith('"requests";r=1;')
    await hooks.listed()
    code, told = await hooks.ask("GET", "deliveries")
    assert (code, told["type"]) == (429, "urn:infill:problem:rate_exceeded")
    assert "3 requests per minute" in told["detail"]
    answer = await hooks.gateway.client.get("/api/v1/webhooks/deliveries", headers=headers)
    assert int(answer.headers["retry-after"]) > 0


async def test_bad_parameters_are_named(hooks: Hooks) -> None:
    for path, name in {
        "deliveries?state=done": "state",
        "deliveries?job_id=0": "job_id",
        "deliveries?job_id=x": "job_id",
        "deliveries?track_id=%00": "track_id",
        "deliveries?limit=201": "limit",
        "deliveries?cursor=x": "cursor",
        "deliveries?jobid=1": "jobid",
        "deliveries/77": "delivery_id",
    }.items():
        code, told = await hooks.ask("GET", path)
        assert code == 422
        assert [error["parameter"] for error in told["errors"]] == [name]


async def test_addresses_and_methods_there_are_not(hooks: Hooks) -> None:
    assert (await hooks.ask("GET", "nothing"))[0] == 404
    code, told = await hooks.ask("GET", "test")
    assert (code, told["detail"]) == (405, "This address takes POST.")
