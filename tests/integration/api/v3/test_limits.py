"""What is over a limit is refused at submit, says so and says when to come again."""

import asyncio
import math
from typing import Any

import pytest
from httpx2 import Response
from pydantic import SecretStr

from api.limits.quota_usage import QuotaUsage
from api.limits.quotas import seconds_to_next_month
from common.domain.wording import counted
from common.runtime.clock import utc_now
from common.settings import RedisSettings, Settings, StorageSettings
from tests.integration.api.gateways import BODY, Gateway, make_settings, open_gateway
from tests.support.caches import age_cache

# 512 × 512 pixels × 21 steps
COST = 5.505024


def full(quota: int) -> str:
    """Tell what is said when so many jobs wait."""
    return f"Rate limit exceeded. Maximum {counted(quota, 'queued request')} allowed."


async def send(gateway: Gateway, path: str = "inpaint", **fields: Any) -> Response:
    """POST with the tenant's key and give the whole answer."""
    body = {"key": gateway.key, **BODY, **fields}
    answer = await gateway.client.post(f"/api/v3/{path}", json=body)
    assert answer.status_code == 200
    return answer


async def said(gateway: Gateway, **fields: Any) -> Any:
    """Tell what comes of a request: its status, or why it was refused."""
    answer = (await send(gateway, **fields)).json()
    return answer["message"] if answer["status"] == "error" else answer["status"]


def usages(gateway: Gateway) -> list[QuotaUsage]:
    return list(gateway.services.quota_limiter._usages.values())


def age_measurements(gateway: Gateway, seconds: float = 1.0) -> None:
    age_cache(gateway.services.quota_limiter._measurements, seconds)


async def test_more_requests_in_a_minute_than_allowed(gateway: Gateway) -> None:
    await gateway.set_limits(requests_per_minute=3)
    for left in (2, 1, 0):
        answer = await send(gateway)
        assert answer.json()["status"] == "processing"
        assert answer.headers["ratelimit-policy"] == '"requests";q=3;w=60'
        assert answer.headers["ratelimit"] == f'"requests";r={left};t=20'
        assert "retry-after" not in answer.headers
    refused = await send(gateway)
    assert refused.json() == {
        "status": "error",
        "message": "Rate limit exceeded",
        "messege": "Rate limit exceeded",
        "tips": "Your plan allows 3 requests per minute. Try again in 20 s.",
    }
    assert refused.headers["retry-after"] == "20"
    assert refused.headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert refused.headers["ratelimit"] == '"requests";r=0;t=20'
    assert await gateway.count_jobs() == 3


async def test_bad_requests_count_and_questions_do_not(gateway: Gateway) -> None:
    await gateway.set_limits(requests_per_minute=2)
    for _ in range(3):
        await gateway.post("fetch/1")
        await gateway.post("system_load")
    assert set(await said(gateway, width=5)) == {"width"}
    assert await said(gateway) == "processing"
    assert await said(gateway) == "Rate limit exceeded"
    assert (await gateway.post("system_load"))["status"] == "ok"


async def test_without_redis_the_limit_holds_and_nobody_is_turned_away_for_it(
    settings: Settings,
) -> None:
    settings.redis = RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))
    async with open_gateway(settings) as gateway:
        await gateway.set_limits(requests_per_minute=2)
        told = [await said(gateway) for _ in range(3)]
    assert told == ["processing", "processing", "Rate limit exceeded"]


async def test_browsers_may_read_the_headers(gateway: Gateway) -> None:
    answer = await gateway.client.post("/api/v3/system_load", headers={"origin": "https://a.test"})
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(exposed)


async def test_tenants_without_limits_are_told_of_none(gateway: Gateway) -> None:
    answer = await send(gateway)
    assert not {"ratelimit", "ratelimit-policy", "retry-after"} & set(answer.headers)
    assert not usages(gateway)


async def test_more_waiting_jobs_than_allowed(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=3)
    assert [await said(gateway) for _ in range(3)] == ["processing"] * 3
    refused = await send(gateway)
    body = refused.json()
    assert body["status"] == "error"
    assert body["message"] == body["messege"] == full(3)
    # Half a second a unit, nobody at work: each of them takes as long as its work.
    seconds = math.ceil(COST / 2)
    assert body["tips"] == (
        f"Wait until one of your jobs has been started: that takes about {seconds} s."
    )
    assert refused.headers["retry-after"] == str(seconds)
    assert refused.headers["ratelimit-policy"] == '"queued";q=3;qu="jobs"'
    assert refused.headers["ratelimit"] == f'"queued";r=0;t={seconds}'
    assert await gateway.count_jobs() == 3


async def test_a_started_job_makes_room_that_is_seen_before_anybody_is_refused(
    gateway: Gateway,
) -> None:
    await gateway.set_limits(max_queued=2)
    assert [await said(gateway) for _ in range(3)] == ["processing"] * 2 + [full(2)]
    await gateway.claim()
    age_measurements(gateway)
    assert [await said(gateway) for _ in range(2)] == ["processing", full(2)]
    assert await gateway.count_jobs() == 3


async def test_nobody_is_refused_for_what_was_true_a_moment_ago(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=1)
    assert await said(gateway) == "processing"
    await gateway.claim()
    age_measurements(gateway, 0.1)  # still good enough to accept, but not to reject
    assert await said(gateway) == "processing"


async def test_a_tenant_that_may_have_nothing_waiting(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=0)
    refused = await send(gateway)
    assert refused.json()["message"] == full(0)
    assert refused.headers["retry-after"] == "1"


async def test_requests_at_once_do_not_pass_a_limit_together(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=5)
    told = await asyncio.gather(*(said(gateway) for _ in range(20)))
    assert sorted(told) == [full(5)] * 15 + ["processing"] * 5
    assert await gateway.count_jobs() == 5


async def test_room_is_given_back_when_a_job_was_not_recorded(
    database_url: str, redis_url: str, bucket: StorageSettings
) -> None:
    away = bucket.model_copy(update={"endpoint_url": "http://127.0.0.1:1"})
    async with open_gateway(make_settings(database_url, redis_url, away)) as gateway:
        await gateway.set_limits(max_queued=1)
        sent = {"key": gateway.key, **BODY, "init_image": "aGVsbG8="}
        assert (await gateway.client.post("/api/v3/inpaint", json=sent)).status_code == 503
        assert await said(gateway) == "processing"


async def test_a_repeated_order_needs_no_room(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=1, monthly_credits=COST)
    key = {"idempotency-key": "k"}
    first = await gateway.post("inpaint", BODY, **key)
    for _ in range(2):
        assert (await gateway.post("inpaint", BODY, **key))["id"] == first["id"]
    other = await gateway.post("inpaint", {**BODY, "seed": 5}, **key)
    assert set(other["message"]) == {"Idempotency-Key"}
    new = await gateway.post("inpaint", BODY, **{"idempotency-key": "new"})
    assert new["message"] == full(1)
    await gateway.claim()
    age_measurements(gateway)
    # What it held was given back: only the one job counts.
    (usage,) = usages(gateway)
    assert await gateway.post("inpaint", BODY, **key)
    measurements = gateway.services.quota_limiter._measurements
    measurement = (await measurements.get(usage)).value
    assert usage.total(measurement) == (0, round(COST * 1e6))


async def test_what_another_gateway_accepted_is_seen_a_second_later(
    gateway: Gateway,
) -> None:
    await gateway.set_limits(max_queued=2)
    assert await said(gateway) == "processing"
    await gateway.run(
        "INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, "
        "cost) SELECT tenant_id, gen_random_uuid(), queue, 3, request, inputs, base64, cost "
        "FROM jobs"
    )
    age_measurements(gateway)
    assert await said(gateway) == full(2)


async def test_credits_are_spent_to_the_last_and_no_further(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=100, monthly_credits=COST * 3)
    assert [await said(gateway) for _ in range(3)] == ["processing"] * 3
    before = seconds_to_next_month(utc_now())
    refused = await send(gateway)
    after = seconds_to_next_month(utc_now())
    body = refused.json()
    assert body["message"] == body["messege"]
    assert body["message"] == "Rate limit exceeded. Maximum 16.515072 credits a month allowed."
    assert body["tips"].startswith("This job costs 5.505024 credits, and 0 are left, ")
    assert after <= int(refused.headers["retry-after"]) <= before
    assert refused.headers["ratelimit-policy"] == '"credits";q=16;qu="credits"'
    assert refused.headers["ratelimit"].startswith('"credits";r=0;t=')
    assert await gateway.count_jobs() == 3


async def test_a_smaller_job_may_still_be_paid_for(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=100, monthly_credits=6)
    assert await said(gateway) == "processing"
    refused = (await send(gateway)).json()
    assert "and 0.494976 are left" in refused["tips"]
    assert await said(gateway, width=64, height=64) == "processing"


@pytest.mark.parametrize("state", ["running", "succeeded"])
async def test_running_jobs_and_those_that_succeeded_are_paid_for(
    gateway: Gateway, state: str
) -> None:
    await gateway.set_limits(max_queued=100, monthly_credits=COST)
    assert await said(gateway) == "processing"
    job = await gateway.claim()
    if state == "succeeded":
        await gateway.draw(job)
    age_measurements(gateway)
    assert "credits a month" in await said(gateway)


async def test_jobs_that_failed_are_not(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=100, monthly_credits=COST)
    assert await said(gateway) == "processing"
    assert "credits a month" in await said(gateway)
    await gateway.give_up((await gateway.claim()).claim, "no")
    age_measurements(gateway)
    assert await said(gateway) == "processing"


async def test_accounts_that_are_kept_are_bounded(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.limits.quotas.KEPT_USAGES", 2)
    for most in range(1, 5):
        await gateway.set_limits(max_queued=most)
        assert await said(gateway) == "processing"
    assert len(usages(gateway)) == 2


async def test_all_that_is_too_large_is_told_at_once(gateway: Gateway) -> None:
    await gateway.set_limits(max_pixels=512 * 512, max_inference_steps=20)
    told = await said(gateway, width=1024, height=512, num_inference_steps=30, samples=9)
    pixels = "at most 262144 pixels on your plan: 1024 × 512 are 524288"
    assert told == {
        "samples": ["The samples field must be a whole number from 1 to 4."],
        "height": [f"The width and height fields must make {pixels}."],
        "num_inference_steps": [
            "The num_inference_steps field must be a whole number from 1 to 20 on your plan."
        ],
    }
    assert await said(gateway, width=1024, height=256, num_inference_steps=20) == "processing"


async def test_models_a_tenant_may_not_use_do_not_answer(gateway: Gateway) -> None:
    await gateway.set_limits(models=["standin", "gone"])
    assert (await send(gateway, "text2img")).json()["status"] == "processing"
    refused = (await send(gateway)).json()
    assert refused["message"] == "No model on your plan serves inpaint; there are: standin."
    await gateway.set_limits(models=[])
    assert (await send(gateway, "text2img")).json()["message"] == (
        "No model on your plan serves text2img; there are: none."
    )


async def test_the_first_model_a_tenant_may_use_answers(gateway: Gateway) -> None:
    await gateway.set_limits(models=["standin"])
    first = (await send(gateway, "img2img")).json()
    assert await gateway.read_column("queue", first["id"]) == "standin"


async def test_the_order_among_a_tenants_own_jobs(gateway: Gateway) -> None:
    sent = {}
    for priority in ("-100", None, 7):
        answer = (await send(gateway, priority=priority)).json()
        sent[answer["id"]] = await gateway.read_column("priority", answer["id"])
    assert list(sent.values()) == [-100, 0, 7]
    claimed = [(await gateway.claim()).id for _ in range(3)]
    assert [sent[job_id] for job_id in claimed] == [7, 0, -100]
