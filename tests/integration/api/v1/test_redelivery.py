"""Redelivery at a tenant's request, of one delivery and in bulk."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis

from common.messaging.doorbell import DISPATCHER_LIST
from common.postgres.repositories.deliveries import redelivery
from common.runtime.clock import utc_now
from tests.integration.api.v1.harness import WebhookHarness
from tests.support.receiver import Receiver, Reply
from tests.support.requests import IMAGE_URL

ENDED = ("delivered", "exhausted", "discarded")


async def create_finished(
    webhooks: WebhookHarness, state: str, *, hours_ago: int = 0, number: int = 1
) -> list[int]:
    """Create deliveries in a final state; return the ids of their jobs."""
    jobs = [await webhooks.failed(IMAGE_URL) for _ in range(number)]
    for job_id in jobs:
        await webhooks.gateway.run(
            "UPDATE deliveries SET state = $1, attempt = 10, failures = 10, "
            "finished_at = now() - make_interval(hours => $2) WHERE job_id = $3",
            *(state, hours_ago, job_id),
        )
    return jobs


async def states(webhooks: WebhookHarness) -> dict[int, str]:
    return {item["job_id"]: item["state"] for item in await webhooks.listed()}


async def rings(webhooks: WebhookHarness) -> int:
    redis: Redis = webhooks.gateway.services.redis
    return int(await redis.llen(DISPATCHER_LIST))


@pytest.mark.parametrize("state", ENDED)
async def test_a_finished_delivery_is_sent_again_under_the_same_id(
    webhooks: WebhookHarness, receiver: Receiver, state: str
) -> None:
    receiver.replies.append(Reply(500))
    job_id = await webhooks.succeeded(receiver.url, track_id="a")
    async with webhooks.dispatching():
        await receiver.request()
    await webhooks.gateway.run(
        "UPDATE deliveries SET state = $1, finished_at = now(), failures = 10", state
    )
    delivery_id = (await webhooks.listed())[0]["id"]
    code, result = await webhooks.ask("POST", f"deliveries/{delivery_id}/redeliver")
    assert (code, result["state"], result["failures"], result["attempts"]) == (202, "pending", 0, 1)
    assert result["finished_at"] is None
    assert (await webhooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "pending"
    async with webhooks.dispatching():
        second = await receiver.request(2)
    first = receiver.requests[0]
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery_id
    shown = await webhooks.shown(job_id)
    assert (shown["delivery"]["state"], len(shown["attempts"])) == ("delivered", 2)
    assert (await webhooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "delivered"


async def test_a_redelivery_starts_the_retry_schedule_again(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    receiver.replies.append(Reply(500))
    job_id = await webhooks.succeeded(receiver.url)
    await webhooks.set("state = 'exhausted', finished_at = now(), attempt = 10, failures = 10")
    (item,) = await webhooks.listed()
    await webhooks.ask("POST", f"deliveries/{item['id']}/redeliver")
    async with webhooks.dispatching():
        await receiver.request()
    shown = await webhooks.shown(job_id)
    assert (shown["delivery"]["state"], shown["delivery"]["failures"]) == ("pending", 1)
    assert (await webhooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "retrying"


async def test_a_delivery_whose_tenant_origin_was_deleted_is_sent_again(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    await webhooks.succeeded(receiver.url)
    await webhooks.set("state = 'exhausted', finished_at = now()")
    await webhooks.gateway.run("DELETE FROM tenant_origins")
    (item,) = await webhooks.listed()
    assert (await webhooks.ask("POST", f"deliveries/{item['id']}/redeliver"))[0] == 202
    async with webhooks.dispatching():
        await receiver.request()


async def test_a_delivery_that_waits_for_a_retry_becomes_due_now(webhooks: WebhookHarness) -> None:
    await webhooks.failed(IMAGE_URL)
    await webhooks.set("available_at = now() + interval '10 hours', attempt = 3, failures = 3")
    (waiting,) = await webhooks.listed()
    path = f"deliveries/{waiting['id']}/redeliver"
    code, result = await webhooks.ask("POST", path)
    assert (code, result["state"], result["failures"]) == (202, "pending", 3)
    assert result["next_attempt_at"] < waiting["next_attempt_at"]
    # Repeated, the request keeps the due time.
    assert await webhooks.ask("POST", path) == (202, result)


async def test_a_delivery_that_is_being_sent_is_a_conflict(webhooks: WebhookHarness) -> None:
    await webhooks.failed(IMAGE_URL)
    await webhooks.set("state = 'sending', lease_expires_at = now() + interval '1 minute'")
    (item,) = await webhooks.listed()
    code, result = await webhooks.ask("POST", f"deliveries/{item['id']}/redeliver")
    assert (code, result["detail"]) == (409, f"delivery {item['id']} is being sent right now")


async def test_a_delivery_with_the_maximum_of_attempts_is_not_sent_again(
    webhooks: WebhookHarness,
) -> None:
    """The number of attempts is limited, and exceeding it would break every claim."""
    await webhooks.failed(IMAGE_URL)
    most = redelivery.MAX_ATTEMPTS
    await webhooks.set(f"state = 'exhausted', finished_at = now(), attempt = {most}")
    (item,) = await webhooks.listed()
    code, result = await webhooks.ask("POST", f"deliveries/{item['id']}/redeliver")
    assert code == 409
    assert f"reached the maximum of {most} attempts" in result["detail"]
    since = {"since": "2000-01-01T00:00:00Z"}
    assert await webhooks.ask("POST", "redeliver", since) == (
        202,
        {"redelivered": 0, "more": False},
    )


async def test_a_job_is_redelivered_after_its_images_were_deleted(
    webhooks: WebhookHarness, receiver: Receiver
) -> None:
    await webhooks.succeeded(receiver.url)
    await webhooks.set("state = 'delivered', finished_at = now(), attempt = 1")
    await webhooks.gateway.run("UPDATE jobs SET objects_deleted_at = '2026-06-03 12:00Z'")
    (item,) = await webhooks.listed()
    await webhooks.ask("POST", f"deliveries/{item['id']}/redeliver")
    async with webhooks.dispatching():
        result = (await receiver.request()).json
    assert (result["status"], result["output"]) == ("success", [])
    assert result["message"] == "The images of this job were deleted on 2026-06-03."


async def test_all_deliveries_that_failed_since_a_time_are_sent_again(
    webhooks: WebhookHarness,
) -> None:
    long_ago = await create_finished(webhooks, "exhausted", hours_ago=30)
    lately = [
        *await create_finished(webhooks, "exhausted"),
        *await create_finished(webhooks, "discarded"),
    ]
    untouched = {
        (await create_finished(webhooks, "delivered"))[0]: "delivered",
        long_ago[0]: "exhausted",
    }
    before = await rings(webhooks)
    since = {"since": (utc_now() - timedelta(hours=24)).isoformat()}
    code, result = await webhooks.ask("POST", "redeliver", since)
    assert (code, result) == (202, {"redelivered": 2, "more": False})
    assert await states(webhooks) == dict.fromkeys(lately, "pending") | untouched
    assert await rings(webhooks) == before + 1
    # Repeated, the request finds nothing to do and rings no dispatcher.
    assert (await webhooks.ask("POST", "redeliver", since))[1]["redelivered"] == 0
    assert await rings(webhooks) == before + 1


async def test_bulk_redelivery_can_be_limited_to_one_state(webhooks: WebhookHarness) -> None:
    (exhausted,) = await create_finished(webhooks, "exhausted")
    (discarded,) = await create_finished(webhooks, "discarded")
    chosen = {"since": "2000-01-01T00:00:00Z", "state": "exhausted"}
    assert (await webhooks.ask("POST", "redeliver", chosen))[1]["redelivered"] == 1
    assert await states(webhooks) == {exhausted: "pending", discarded: "discarded"}


async def test_a_large_bulk_redelivery_is_done_in_parts(
    webhooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "MAX_REDELIVERIES", 2)
    monkeypatch.setattr("api.dialects.v1.webhooks.MAX_BATCHES", 2)
    await create_finished(webhooks, "exhausted", number=7)
    since = {"since": "2000-01-01T00:00:00Z"}
    responses = [(await webhooks.ask("POST", "redeliver", since))[1] for _ in range(2)]
    assert responses == [{"redelivered": 4, "more": True}, {"redelivered": 3, "more": False}]
    assert set((await states(webhooks)).values()) == {"pending"}


async def test_a_second_bulk_redelivery_at_once_is_rejected(webhooks: WebhookHarness) -> None:
    await create_finished(webhooks, "exhausted", number=5)
    since = {"since": "2000-01-01T00:00:00Z"}
    submitted = await asyncio.gather(*(webhooks.ask("POST", "redeliver", since) for _ in range(3)))
    assert sorted(code for code, _ in submitted) == [202, 429, 429]
    assert [result["redelivered"] for code, result in submitted if code == 202] == [5]


async def test_bad_bodies_are_reported(webhooks: WebhookHarness) -> None:
    noon = "2026-01-01T12:00:00Z"
    wrong: list[tuple[object, str]] = [
        ({}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"since": noon, "until": 1}, "until"),
        ({"since": noon, "state": "delivered"}, "state"),
    ]
    for body, field in wrong:
        code, result = await webhooks.ask("POST", "redeliver", body)
        assert (code, [error["pointer"] for error in result["errors"]]) == (422, [f"#/{field}"])


async def test_a_missing_delivery_cannot_be_sent_again(webhooks: WebhookHarness) -> None:
    code, result = await webhooks.ask("POST", f"deliveries/{UUID(int=7)}/redeliver")
    assert (code, result["type"]) == (404, "urn:infill:problem:not_found")
