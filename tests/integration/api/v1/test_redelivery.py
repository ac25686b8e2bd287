"""Sending again what a tenant asks for again."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis

from common.messaging.doorbell import DISPATCHER_LIST
from common.postgres.repositories.deliveries import redelivery
from common.runtime.clock import utc_now
from tests.integration.api.gateways import URL
from tests.integration.api.v1.hooks import Hooks
from tests.support.receiver import Receiver, Reply

ENDED = ("delivered", "exhausted", "discarded")


async def end(hooks: Hooks, state: str, *, hours_ago: int = 0, number: int = 1) -> list[int]:
    """Make deliveries that have ended."""
    jobs = [await hooks.failed(URL) for _ in range(number)]
    for job_id in jobs:
        await hooks.gateway.run(
            "UPDATE deliveries SET state = $1, attempt = 10, failures = 10, "
            "finished_at = now() - make_interval(hours => $2) WHERE job_id = $3",
            *(state, hours_ago, job_id),
        )
    return jobs


async def states(hooks: Hooks) -> dict[int, str]:
    return {item["job_id"]: item["state"] for item in await hooks.listed()}


async def rings(hooks: Hooks) -> int:
    redis: Redis = hooks.gateway.services.redis
    return int(await redis.llen(DISPATCHER_LIST))


@pytest.mark.parametrize("state", ENDED)
async def test_one_is_sent_again_under_the_same_id(
    hooks: Hooks, receiver: Receiver, state: str
) -> None:
    receiver.replies.append(Reply(500))
    job_id = await hooks.succeeded(receiver.url, track_id="a")
    async with hooks.dispatching():
        await receiver.request()
    await hooks.gateway.run(
        "UPDATE deliveries SET state = $1, finished_at = now(), failures = 10", state
    )
    delivery_id = (await hooks.listed())[0]["id"]
    code, told = await hooks.ask("POST", f"deliveries/{delivery_id}/redeliver")
    assert (code, told["state"], told["failures"], told["attempts"]) == (202, "pending", 0, 1)
    assert told["finished_at"] is None
    assert (await hooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "pending"
    async with hooks.dispatching():
        second = await receiver.request(2)
    first = receiver.requests[0]
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery_id
    shown = await hooks.shown(job_id)
    assert (shown["delivery"]["state"], len(shown["attempts"])) == ("delivered", 2)
    assert (await hooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "delivered"


async def test_its_schedule_begins_anew(hooks: Hooks, receiver: Receiver) -> None:
    receiver.replies.append(Reply(500))
    job_id = await hooks.succeeded(receiver.url)
    await hooks.set("state = 'exhausted', finished_at = now(), attempt = 10, failures = 10")
    (item,) = await hooks.listed()
    await hooks.ask("POST", f"deliveries/{item['id']}/redeliver")
    async with hooks.dispatching():
        await receiver.request()
    shown = await hooks.shown(job_id)
    assert (shown["delivery"]["state"], shown["delivery"]["failures"]) == ("pending", 1)
    assert (await hooks.gateway.post(f"fetch/{job_id}"))["webhook_status"] == "retrying"


async def test_one_that_ended_before_there_were_lines_is_sent_again(
    hooks: Hooks, receiver: Receiver
) -> None:
    await hooks.succeeded(receiver.url)
    for statement in (
        "ALTER TABLE deliveries DISABLE TRIGGER name_origin",
        "UPDATE deliveries SET origin = NULL, state = 'exhausted', finished_at = now()",
        "ALTER TABLE deliveries ENABLE TRIGGER name_origin",
        "DELETE FROM tenant_origins",
    ):
        await hooks.gateway.run(statement)
    (item,) = await hooks.listed()
    assert (await hooks.ask("POST", f"deliveries/{item['id']}/redeliver"))[0] == 202
    async with hooks.dispatching():
        await receiver.request()


async def test_one_that_waits_for_its_next_attempt_is_sent_now(hooks: Hooks) -> None:
    await hooks.failed(URL)
    await hooks.set("available_at = now() + interval '10 hours', attempt = 3, failures = 3")
    (waiting,) = await hooks.listed()
    path = f"deliveries/{waiting['id']}/redeliver"
    code, told = await hooks.ask("POST", path)
    assert (code, told["state"], told["failures"]) == (202, "pending", 3)
    assert told["next_attempt_at"] < waiting["next_attempt_at"]
    # Asked for again, it keeps its place.
    assert await hooks.ask("POST", path) == (202, told)


async def test_one_that_is_being_sent_is_left_alone(hooks: Hooks) -> None:
    await hooks.failed(URL)
    await hooks.set("state = 'sending', lease_expires_at = now() + interval '1 minute'")
    (item,) = await hooks.listed()
    code, told = await hooks.ask("POST", f"deliveries/{item['id']}/redeliver")
    assert (code, told["detail"]) == (409, f"delivery {item['id']} is being sent right now")


async def test_attempts_without_end_are_refused(hooks: Hooks) -> None:
    """The count of attempts has an end, and reaching it would break everybody's claims."""
    await hooks.failed(URL)
    most = redelivery.MOST_ATTEMPTS
    await hooks.set(f"state = 'exhausted', finished_at = now(), attempt = {most}")
    (item,) = await hooks.listed()
    code, told = await hooks.ask("POST", f"deliveries/{item['id']}/redeliver")
    assert code == 409
    assert f"has been tried {most} times" in told["detail"]
    since = {"since": "2000-01-01T00:00:00Z"}
    assert await hooks.ask("POST", "redeliver", since) == (202, {"redelivered": 0, "more": False})


async def test_without_its_pictures_a_job_is_told_as_it_is(
    hooks: Hooks, receiver: Receiver
) -> None:
    await hooks.succeeded(receiver.url)
    await hooks.set("state = 'delivered', finished_at = now(), attempt = 1")
    await hooks.gateway.run("UPDATE jobs SET objects_deleted_at = '2026-06-03 12:00Z'")
    (item,) = await hooks.listed()
    await hooks.ask("POST", f"deliveries/{item['id']}/redeliver")
    async with hooks.dispatching():
        told = (await receiver.request()).json
    assert (told["status"], told["output"]) == ("success", [])
    assert told["message"] == "The images of this job were deleted on 2026-06-03."


async def test_all_that_failed_since_a_time_are_sent_again(hooks: Hooks) -> None:
    long_ago = await end(hooks, "exhausted", hours_ago=30)
    lately = [*await end(hooks, "exhausted"), *await end(hooks, "discarded")]
    untouched = {(await end(hooks, "delivered"))[0]: "delivered", long_ago[0]: "exhausted"}
    before = await rings(hooks)
    since = {"since": (utc_now() - timedelta(hours=24)).isoformat()}
    code, told = await hooks.ask("POST", "redeliver", since)
    assert (code, told) == (202, {"redelivered": 2, "more": False})
    assert await states(hooks) == dict.fromkeys(lately, "pending") | untouched
    assert await rings(hooks) == before + 1
    # Asked for again, there is nothing left to do, and nobody is woken for it.
    assert (await hooks.ask("POST", "redeliver", since))[1]["redelivered"] == 0
    assert await rings(hooks) == before + 1


async def test_those_that_ended_in_one_way_can_be_chosen(hooks: Hooks) -> None:
    (exhausted,) = await end(hooks, "exhausted")
    (discarded,) = await end(hooks, "discarded")
    chosen = {"since": "2000-01-01T00:00:00Z", "state": "exhausted"}
    assert (await hooks.ask("POST", "redeliver", chosen))[1]["redelivered"] == 1
    assert await states(hooks) == {exhausted: "pending", discarded: "discarded"}


async def test_very_many_are_sent_again_a_part_at_a_time(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "BATCH", 2)
    monkeypatch.setattr("api.dialects.v1.webhooks.BATCHES", 2)
    redelivery._failed.cache_clear()
    await end(hooks, "exhausted", number=7)
    since = {"since": "2000-01-01T00:00:00Z"}
    answers = [(await hooks.ask("POST", "redeliver", since))[1] for _ in range(2)]
    assert answers == [{"redelivered": 4, "more": True}, {"redelivered": 3, "more": False}]
    assert set((await states(hooks)).values()) == {"pending"}
    redelivery._failed.cache_clear()


async def test_who_asks_twice_at_once_waits_for_the_first(hooks: Hooks) -> None:
    await end(hooks, "exhausted", number=5)
    since = {"since": "2000-01-01T00:00:00Z"}
    asked = await asyncio.gather(*(hooks.ask("POST", "redeliver", since) for _ in range(3)))
    assert sorted(code for code, _ in asked) == [202, 429, 429]
    assert [told["redelivered"] for code, told in asked if code == 202] == [5]


async def test_bad_bodies_are_told_of(hooks: Hooks) -> None:
    noon = "2026-01-01T12:00:00Z"
    wrong: list[tuple[object, str]] = [
        ({}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"since": noon, "until": 1}, "until"),
        ({"since": noon, "state": "delivered"}, "state"),
    ]
    for body, field in wrong:
        code, told = await hooks.ask("POST", "redeliver", body)
        assert (code, [error["pointer"] for error in told["errors"]]) == (422, [f"#/{field}"])


async def test_nobody_can_redeliver_what_is_not_there(hooks: Hooks) -> None:
    code, told = await hooks.ask("POST", f"deliveries/{UUID(int=7)}/redeliver")
    assert (code, told["type"]) == (404, "urn:infill:problem:not_found")
