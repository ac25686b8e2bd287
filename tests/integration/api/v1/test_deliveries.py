"""Deliveries as their tenant reads them."""

from datetime import datetime
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from common.postgres.repositories.deliveries import log as delivery_log
from common.runtime.clock import utc_now
from tests.integration.api.gateways import new_key
from tests.integration.api.v1.harness import WebhookHarness
from tests.support.receiver import Receiver, Reply
from tests.support.requests import IMAGE_URL, INPAINT_BODY

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


async def test_a_delivery_is_shown_from_pending_to_delivered(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    receiver.replies.append(Reply(503, {"retry-after": "600"}, body=b"busy \xff" + b"x" * 100))
    job_id = await webhooks.succeeded(receiver.url, track_id="order-7")
    (waiting,) = await webhooks.listed()
    assert set(waiting) == SHOWN
    assert (waiting["event"], waiting["state"]) == ("job.succeeded", "pending")
    assert (waiting["job_id"], waiting["track_id"]) == (job_id, "order-7")
    assert (waiting["attempts"], waiting["last_attempt"]) == (0, None)
    assert waiting["next_attempt_at"] == waiting["created_at"]

    async with webhooks.dispatching():
        first = await receiver.request()
    shown = await webhooks.shown(job_id)
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

    await webhooks.set("available_at = now()")
    async with webhooks.dispatching():
        await receiver.request(2)
    shown = await webhooks.shown(job_id)
    assert (shown["delivery"]["state"], shown["delivery"]["next_attempt_at"]) == ("delivered", None)
    assert shown["delivery"]["finished_at"] is not None
    assert [attempt["status_code"] for attempt in shown["attempts"]] == [200, 503]
    assert (await webhooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "delivered"


async def test_every_event_has_its_name_and_is_sent(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    url = receiver.url
    jobs = {
        await webhooks.succeeded(url, track_id=1): ("job.succeeded", "success"),
        await webhooks.failed(url, track_id=2): ("job.failed", "failed"),
        await webhooks.canceled(url, track_id=3): ("job.canceled", "failed"),
    }
    async with webhooks.dispatching():
        await receiver.request(3)
    assert {item["job_id"]: item["event"] for item in await webhooks.listed()} == {
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
        "message": "the job was canceled by its owner through the API",
        "messege": "the job was canceled by its owner through the API",
        "output": [],
        "track_id": 3,
    }
    assert {item["state"] for item in await webhooks.listed()} == {"delivered"}


@pytest.mark.parametrize(
    ("reply", "ended_by"),
    [
        (Reply(410), "gone"),
        (Reply(500, {"webhook-delivery": "abort-message"}), "abort_message"),
    ],
)
async def test_the_event_that_ended_a_delivery_is_shown(
    webhooks: WebhookHarness, receiver: Receiver, reply: Reply, ended_by: str
) -> None:
    receiver.replies.append(reply)
    job_id = await webhooks.succeeded(receiver.url)
    async with webhooks.dispatching():
        await receiver.request()
    shown = await webhooks.shown(job_id)
    assert (shown["delivery"]["state"], shown["attempts"][0]["ended_by"]) == ("discarded", ended_by)
    assert shown["delivery"]["last_attempt"]["ended_by"] == ended_by
    assert (await webhooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "exhausted"


async def test_a_delivery_is_found_by_a_track_id_of_any_type(
    webhooks: WebhookHarness,
) -> None:
    spellings: dict[Any, str] = {
        17: "17",
        "17": "17",
        7.5: "7.5",
        "a b&c": "a%20b%26c",
        "ü" * 1000: "%C3%BC" * 1000,
    }
    jobs = {
        (value, type(value)): await webhooks.failed(IMAGE_URL, track_id=value)
        for value in spellings
    }
    await webhooks.failed(IMAGE_URL)
    for value, spelling in spellings.items():
        found = await webhooks.listed(f"?track_id={spelling}")
        result = {(item["track_id"], type(item["track_id"])): item["job_id"] for item in found}
        assert result == {key: job for key, job in jobs.items() if str(key[0]) == str(value)}
    assert await webhooks.listed("?track_id=none") == []
    assert (await webhooks.listed(f"?job_id={jobs[7.5, float]}"))[0]["track_id"] == 7.5


async def test_lists_are_read_a_page_at_a_time(
    webhooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_log, "MAX_ROWS_READ", 3)
    delivery_log._end_statement.cache_clear()
    jobs = [await webhooks.failed(IMAGE_URL, track_id="same") for _ in range(5)]
    await webhooks.gateway.run(
        "UPDATE deliveries SET state = 'exhausted', finished_at = now() WHERE job_id = $1", jobs[0]
    )
    for query in ("", "&track_id=same", "&state=pending"):
        page = await webhooks.get(f"deliveries?limit=2{query}")
        seen = [item["job_id"] for item in page["items"]]
        while page["next_cursor"] is not None:
            page = await webhooks.get(f"deliveries?limit=2{query}&cursor={page['next_cursor']}")
            seen += [item["job_id"] for item in page["items"]]
        assert seen == (jobs[:0:-1] if "state" in query else jobs[::-1])
    # Nothing among the latest three: the page is empty, and there is a next one.
    page = await webhooks.get("deliveries?state=exhausted")
    assert (page["items"], page["next_cursor"] is None) == ([], False)
    page = await webhooks.get(f"deliveries?state=exhausted&cursor={page['next_cursor']}")
    assert ([item["job_id"] for item in page["items"]], page["next_cursor"]) == ([jobs[0]], None)
    delivery_log._end_statement.cache_clear()


async def test_a_paused_origin_is_shown(webhooks: WebhookHarness) -> None:
    await webhooks.failed(IMAGE_URL)
    await webhooks.gateway.run(
        "UPDATE tenant_origins SET open_until = now() + interval '30 seconds'"
    )
    (item,) = await webhooks.listed()
    assert item["next_attempt_at"] == item["paused_until"] > item["created_at"]
    await webhooks.gateway.run("UPDATE tenant_origins SET open_until = '-infinity'")
    (item,) = await webhooks.listed()
    assert (item["next_attempt_at"], item["paused_until"]) == (item["created_at"], None)


async def test_another_tenants_deliveries_look_the_same_as_missing_ones(
    webhooks: WebhookHarness,
) -> None:
    job_id = await webhooks.failed(IMAGE_URL, track_id="mine")
    (mine,) = await webhooks.listed()
    bob = await new_key(webhooks.gateway.services, "bob")
    for query in ("", f"?job_id={job_id}", "?track_id=mine", "?state=pending"):
        assert await webhooks.ask("GET", f"deliveries{query}", key=bob) == (
            200,
            {"items": [], "next_cursor": None},
        )
    for delivery_id in (mine["id"], str(uuid4())):
        for method, path in (("GET", ""), ("POST", "/redeliver")):
            code, result = await webhooks.ask(method, f"deliveries/{delivery_id}{path}", key=bob)
            detail = f"there is no delivery with the id {delivery_id}"
            assert (code, result["detail"]) == (404, detail)
    since = {"since": "2000-01-01T00:00:00Z"}
    assert (await webhooks.ask("POST", "redeliver", since, key=bob))[1]["redelivered"] == 0
    assert await webhooks.listed() == [mine]


async def test_requests_without_a_valid_key_are_rejected(webhooks: WebhookHarness) -> None:
    wrong: list[dict[str, str]] = [{}, {"authorization": "Bearer inf_junk"}, {"key": "junk"}]
    for sent, (method, path) in product(
        wrong, (("GET", "deliveries"), ("POST", "test"), ("POST", "redeliver"))
    ):
        response = await webhooks.gateway.client.request(
            method, f"/api/v1/webhooks/{path}", headers=sent, content=b"{"
        )
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["type"] == "urn:infill:problem:wrong_api_key"


async def test_the_key_header_of_v3_is_accepted(webhooks: WebhookHarness) -> None:
    client, headers = webhooks.gateway.client, {"key": webhooks.gateway.key}
    assert (await client.get("/api/v1/webhooks/deliveries", headers=headers)).status_code == 200


async def test_every_request_takes_a_rate_limit_token(webhooks: WebhookHarness) -> None:
    await webhooks.gateway.set_limits(requests_per_minute=3)
    await webhooks.gateway.post("inpaint", INPAINT_BODY)
    headers = {"authorization": f"Bearer {webhooks.gateway.key}"}
    response = await webhooks.gateway.client.get("/api/v1/webhooks/deliveries", headers=headers)
    assert response.headers["ratelimit"].startswith('"requests";r=1;')
    await webhooks.listed()
    code, result = await webhooks.ask("GET", "deliveries")
    assert (code, result["type"]) == (429, "urn:infill:problem:rate_exceeded")
    assert "3 requests per minute" in result["detail"]
    response = await webhooks.gateway.client.get("/api/v1/webhooks/deliveries", headers=headers)
    assert int(response.headers["retry-after"]) > 0


async def test_bad_parameters_are_named_in_the_error(webhooks: WebhookHarness) -> None:
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
        code, result = await webhooks.ask("GET", path)
        assert code == 422
        assert [error["parameter"] for error in result["errors"]] == [name]


async def test_unknown_paths_and_methods_are_rejected(webhooks: WebhookHarness) -> None:
    assert (await webhooks.ask("GET", "nothing"))[0] == 404
    code, result = await webhooks.ask("GET", "test")
    assert (code, result["detail"]) == (405, "This path accepts POST only.")
