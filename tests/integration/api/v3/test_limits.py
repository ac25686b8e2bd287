"""A request over a limit is rejected at submit, with the limit and the time to try again."""

import asyncio
import math
from typing import Any

import pytest
from httpx2 import Response
from pydantic import SecretStr

from api.limits.quota_usage import QuotaUsage
from api.limits.quotas import seconds_to_next_month
from common.domain.errors import pluralize
from common.runtime.clock import utc_now
from common.settings import RedisSettings, Settings, StorageSettings
from tests.integration.api.gateways import Gateway, make_settings, open_gateway
from tests.support.caches import age_cache
from tests.support.requests import INPAINT_BODY

# 512 × 512 pixels × 21 steps
COST = 5.505024


def queue_full_message(quota: int) -> str:
    """Return the message when `quota` jobs wait."""
    return f"Rate limit exceeded. Maximum {pluralize(quota, 'queued request')} allowed."


async def send(gateway: Gateway, path: str = "inpaint", **fields: Any) -> Response:
    """POST with the tenant's key and return the whole response."""
    body = {"key": gateway.key, **INPAINT_BODY, **fields}
    response = await gateway.client.post(f"/api/v3/{path}", json=body)
    assert response.status_code == 200
    return response


async def outcome(gateway: Gateway, **fields: Any) -> Any:
    """Send a request and return its v3 status, or the message of its error."""
    response = (await send(gateway, **fields)).json()
    return response["message"] if response["status"] == "error" else response["status"]


def usages(gateway: Gateway) -> list[QuotaUsage]:
    return list(gateway.services.quota_limiter._usages.values())


def age_measurements(gateway: Gateway, seconds: float = 1.0) -> None:
    age_cache(gateway.services.quota_limiter._measurements, seconds)


async def test_more_requests_in_a_minute_than_allowed_are_rejected(gateway: Gateway) -> None:
    await gateway.set_limits(requests_per_minute=3)
    for left in (2, 1, 0):
        response = await send(gateway)
        assert response.json()["status"] == "processing"
        assert response.headers["ratelimit-policy"] == '"requests";q=3;w=60'
        assert response.headers["ratelimit"] == f'"requests";r={left};t=20'
        assert "retry-after" not in response.headers
    rejected = await send(gateway)
    assert rejected.json() == {
        "status": "error",
        "message": "Rate limit exceeded",
        "messege": "Rate limit exceeded",
        "tips": "Your plan allows 3 requests per minute. Try again in 20 s.",
    }
    assert rejected.headers["retry-after"] == "20"
    assert rejected.headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert rejected.headers["ratelimit"] == '"requests";r=0;t=20'
    assert await gateway.count_jobs() == 3


async def test_bad_requests_take_tokens_and_reads_do_not(gateway: Gateway) -> None:
    await gateway.set_limits(requests_per_minute=2)
    for _ in range(3):
        await gateway.post("fetch/1")
        await gateway.post("system_load")
    assert set(await outcome(gateway, width=5)) == {"width"}
    assert await outcome(gateway) == "processing"
    assert await outcome(gateway) == "Rate limit exceeded"
    assert (await gateway.post("system_load"))["status"] == "ok"


async def test_without_redis_the_limit_holds_and_fails_no_request(
    settings: Settings,
) -> None:
    settings.redis = RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))
    async with open_gateway(settings) as gateway:
        await gateway.set_limits(requests_per_minute=2)
        result = [await outcome(gateway) for _ in range(3)]
    assert result == ["processing", "processing", "Rate limit exceeded"]


async def test_browsers_may_read_the_headers(gateway: Gateway) -> None:
    response = await gateway.client.post(
        "/api/v3/system_load", headers={"origin": "https://a.test"}
    )
    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(exposed)


async def test_tenants_without_limits_get_no_headers(gateway: Gateway) -> None:
    response = await send(gateway)
    assert not {"ratelimit", "ratelimit-policy", "retry-after"} & set(response.headers)
    assert not usages(gateway)


async def test_more_waiting_jobs_than_allowed_are_rejected(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=3)
    assert [await outcome(gateway) for _ in range(3)] == ["processing"] * 3
    rejected = await send(gateway)
    body = rejected.json()
    assert body["status"] == "error"
    assert body["message"] == body["messege"] == queue_full_message(3)
    # Half a second per unit and no worker: each job takes as long as its work.
    seconds = math.ceil(COST / 2)
    assert body["tips"] == (
        "Your plan allows at most 3 queued jobs, and you have reached that limit. "
        f"Wait until one of your jobs has started, which takes about {seconds} s."
    )
    assert rejected.headers["retry-after"] == str(seconds)
    assert rejected.headers["ratelimit-policy"] == '"queued";q=3;qu="jobs"'
    assert rejected.headers["ratelimit"] == f'"queued";r=0;t={seconds}'
    assert await gateway.count_jobs() == 3


async def test_a_started_job_is_noticed_before_a_job_is_rejected(
    gateway: Gateway,
) -> None:
    await gateway.set_limits(max_queued=2)
    assert [await outcome(gateway) for _ in range(3)] == ["processing"] * 2 + [
        queue_full_message(2)
    ]
    await gateway.claim()
    age_measurements(gateway)
    assert [await outcome(gateway) for _ in range(2)] == ["processing", queue_full_message(2)]
    assert await gateway.count_jobs() == 3


async def test_a_job_is_rejected_only_by_a_recent_measurement(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=1)
    assert await outcome(gateway) == "processing"
    await gateway.claim()
    age_measurements(gateway, 0.1)  # still good enough to accept, but not to reject
    assert await outcome(gateway) == "processing"


async def test_a_tenant_with_a_queue_limit_of_zero_is_rejected(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=0)
    rejected = await send(gateway)
    assert rejected.json()["message"] == queue_full_message(0)
    assert rejected.headers["retry-after"] == "1"


async def test_concurrent_requests_cannot_exceed_a_limit_together(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=5)
    result = await asyncio.gather(*(outcome(gateway) for _ in range(20)))
    assert sorted(result) == [queue_full_message(5)] * 15 + ["processing"] * 5
    assert await gateway.count_jobs() == 5


async def test_a_reservation_is_released_when_the_job_is_not_recorded(
    database_url: str, redis_url: str, bucket: StorageSettings
) -> None:
    unavailable = bucket.model_copy(update={"endpoint_url": "http://127.0.0.1:1"})
    async with open_gateway(make_settings(database_url, redis_url, unavailable)) as gateway:
        await gateway.set_limits(max_queued=1)
        sent = {"key": gateway.key, **INPAINT_BODY, "init_image": "aGVsbG8="}
        assert (await gateway.client.post("/api/v3/inpaint", json=sent)).status_code == 503
        assert await outcome(gateway) == "processing"


async def test_a_repeated_request_needs_no_reservation(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=1, monthly_credits=COST)
    key = {"idempotency-key": "k"}
    first = await gateway.post("inpaint", INPAINT_BODY, **key)
    for _ in range(2):
        assert (await gateway.post("inpaint", INPAINT_BODY, **key))["id"] == first["id"]
    other = await gateway.post("inpaint", {**INPAINT_BODY, "seed": 5}, **key)
    assert set(other["message"]) == {"Idempotency-Key"}
    new = await gateway.post("inpaint", INPAINT_BODY, **{"idempotency-key": "new"})
    assert new["message"] == queue_full_message(1)
    await gateway.claim()
    age_measurements(gateway)
    # What it held was given back: only the one job counts.
    (usage,) = usages(gateway)
    assert await gateway.post("inpaint", INPAINT_BODY, **key)
    measurements = gateway.services.quota_limiter._measurements
    measurement = (await measurements.get(usage)).value
    assert usage.total(measurement) == (0, round(COST * 1e6))


async def test_jobs_of_another_gateway_are_seen_a_second_later(
    gateway: Gateway,
) -> None:
    await gateway.set_limits(max_queued=2)
    assert await outcome(gateway) == "processing"
    await gateway.run(
        "INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, "
        "cost) SELECT tenant_id, gen_random_uuid(), queue, 3, request, inputs, base64, cost "
        "FROM jobs"
    )
    age_measurements(gateway)
    assert await outcome(gateway) == queue_full_message(2)


async def test_credits_can_be_spent_completely(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=100, monthly_credits=COST * 3)
    assert [await outcome(gateway) for _ in range(3)] == ["processing"] * 3
    before = seconds_to_next_month(utc_now())
    rejected = await send(gateway)
    after = seconds_to_next_month(utc_now())
    body = rejected.json()
    assert body["message"] == body["messege"]
    assert body["message"] == "Rate limit exceeded. Maximum 16.515072 credits a month allowed."
    assert body["tips"].startswith(
        "This job costs 5.505024 credits, but you have 0 of this month's 16.515072 left; "
    )
    assert after <= int(rejected.headers["retry-after"]) <= before
    assert rejected.headers["ratelimit-policy"] == '"credits";q=16;qu="credits"'
    assert rejected.headers["ratelimit"].startswith('"credits";r=0;t=')
    assert await gateway.count_jobs() == 3


async def test_a_smaller_job_may_still_fit(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=100, monthly_credits=6)
    assert await outcome(gateway) == "processing"
    rejected = (await send(gateway)).json()
    assert "you have 0.494976 of this month's 6 left; " in rejected["tips"]
    assert await outcome(gateway, width=64, height=64) == "processing"


@pytest.mark.parametrize("state", ["running", "succeeded"])
async def test_running_and_succeeded_jobs_cost_credits(gateway: Gateway, state: str) -> None:
    await gateway.set_limits(max_queued=100, monthly_credits=COST)
    assert await outcome(gateway) == "processing"
    job = await gateway.claim()
    if state == "succeeded":
        await gateway.finish(job)
    age_measurements(gateway)
    assert "credits a month" in await outcome(gateway)


async def test_failed_jobs_cost_no_credits(gateway: Gateway) -> None:
    await gateway.set_limits(max_queued=100, monthly_credits=COST)
    assert await outcome(gateway) == "processing"
    assert "credits a month" in await outcome(gateway)
    await gateway.fail((await gateway.claim()).claim, "no")
    age_measurements(gateway)
    assert await outcome(gateway) == "processing"


async def test_the_number_of_kept_usages_is_bounded(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.limits.quotas.KEPT_USAGES", 2)
    for most in range(1, 5):
        await gateway.set_limits(max_queued=most)
        assert await outcome(gateway) == "processing"
    assert len(usages(gateway)) == 2


async def test_all_values_over_the_limits_are_reported_at_once(gateway: Gateway) -> None:
    await gateway.set_limits(max_pixels=512 * 512, max_inference_steps=20)
    result = await outcome(gateway, width=1024, height=512, num_inference_steps=30, samples=9)
    assert result == {
        "samples": ["The samples field must be a whole number from 1 to 4."],
        "height": [
            "Your plan allows at most 262144 pixels (width × height); 1024 × 512 is 524288."
        ],
        "num_inference_steps": [
            "The num_inference_steps field must be a whole number from 1 to 20 on your plan."
        ],
    }
    assert await outcome(gateway, width=1024, height=256, num_inference_steps=20) == "processing"


async def test_models_that_the_plan_excludes_are_not_used(gateway: Gateway) -> None:
    await gateway.set_limits(models=["standin", "gone"])
    assert (await send(gateway, "text2img")).json()["status"] == "processing"
    rejected = (await send(gateway)).json()
    assert rejected["message"] == (
        "No model on your plan supports inpaint. Models on your plan: standin."
    )
    await gateway.set_limits(models=[])
    assert (await send(gateway, "text2img")).json()["message"] == (
        "No model on your plan supports text2img. Models on your plan: none."
    )


async def test_the_first_model_on_the_plan_is_the_default(gateway: Gateway) -> None:
    await gateway.set_limits(models=["standin"])
    first = (await send(gateway, "img2img")).json()
    assert await gateway.read_column("queue", first["id"]) == "standin"


async def test_priorities_order_a_tenants_own_jobs(gateway: Gateway) -> None:
    sent = {}
    for priority in ("-100", None, 7):
        response = (await send(gateway, priority=priority)).json()
        sent[response["id"]] = await gateway.read_column("priority", response["id"])
    assert list(sent.values()) == [-100, 0, 7]
    claimed = [(await gateway.claim()).id for _ in range(3)]
    assert [sent[job_id] for job_id in claimed] == [7, 0, -100]
