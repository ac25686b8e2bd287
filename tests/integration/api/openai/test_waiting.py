"""What becomes of a job whose caller stops waiting, and of jobs of other tenants."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest

from common.settings import StorageSettings
from tests.integration.api.gateways import Gateway, make_settings, new_key, open_gateway
from tests.integration.api.openai.conftest import Site, png

KEY = {"idempotency-key": "again"}
LAKE = {"prompt": "a lake", "size": "64x64"}


@pytest.fixture
async def hasty(
    database_url: str, redis_url: str, bucket: StorageSettings
) -> AsyncIterator[Gateway]:
    """Yield a gateway without workers that waits for a moment."""
    settings = make_settings(database_url, redis_url, bucket, openai_wait_seconds=0.05)
    async with open_gateway(settings) as gateway:
        yield gateway


async def post(gateway: Gateway, body: object, **headers: str) -> tuple[int, dict[str, str], str]:
    response = await gateway.client.post(
        "/v1/images/generations",
        json=body,
        headers={"authorization": f"Bearer {gateway.key}", **headers},
    )
    assert response.json()["error"]["code"] == "timeout"
    state = await gateway.read_column("state", int(response.headers["x-infill-job-id"]))
    return response.status_code, dict(response.headers), state


async def test_a_job_that_takes_too_long_is_canceled(hasty: Gateway) -> None:
    status, headers, state = await post(hasty, LAKE)
    assert (status, headers["x-should-retry"], state) == (504, "false", "canceled")


async def test_a_job_with_a_webhook_goes_on(hasty: Gateway) -> None:
    status, headers, state = await post(hasty, {**LAKE, "webhook": "https://example.com/hook"})
    assert (status, headers["x-should-retry"], state) == (504, "false", "queued")


async def test_a_job_of_a_repeatable_request_goes_on(hasty: Gateway) -> None:
    status, headers, state = await post(hasty, LAKE, **KEY)
    assert (status, headers["x-should-retry"], state) == (504, "true", "queued")
    assert headers["retry-after"] == "2"
    _, again, _ = await post(hasty, LAKE, **KEY)
    assert again["x-infill-job-id"] == headers["x-infill-job-id"]
    assert await hasty.count_jobs() == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_disconnected_caller_cancels_the_job(site: Site, *, stream: bool) -> None:
    client = site.client()
    before = await site.gateway.count_jobs()

    async def call() -> None:
        response = await client.images.edit(image=png(), prompt="endless", stream=stream)
        if isinstance(response, openai.AsyncStream):
            _ = [event async for event in response]

    calling = asyncio.create_task(call())
    async with asyncio.timeout(60):
        while await site.gateway.count_jobs() == before:
            pass
        await site.wait_for_state("running")
        calling.cancel()
        job = await site.wait_for_state("canceled")
    assert job["error_message"].startswith("the job was canceled because its caller stopped")
    await client.images.generate(prompt="a lake", size="64x64")  # the engine is free again


async def test_a_job_that_the_tenant_cancels_is_a_bad_request(site: Site) -> None:
    before = await site.gateway.count_jobs()
    calling = asyncio.create_task(site.post("images/generations", json={"prompt": "endless"}))
    async with asyncio.timeout(60):
        while await site.gateway.count_jobs() == before:
            pass
    job = await site.wait_for_state("running")
    response = await site.gateway.client.post(
        f"/api/v1/jobs/{job['id']}/cancel",
        headers={"authorization": f"Bearer {site.gateway.key}"},
    )
    assert response.status_code == 200
    canceled = await calling
    assert (canceled.status_code, canceled.json()["error"]["code"]) == (400, "canceled")


async def test_another_tenant_sees_neither_jobs_nor_models(site: Site) -> None:
    services = site.gateway.services
    key = await new_key(services, "bob")
    await site.gateway.run(
        "UPDATE tenants SET limits = CAST($1::text AS jsonb) WHERE name = 'bob'",
        '{"models": ["standin"]}',
    )
    same = {"extra_headers": {"Idempotency-Key": "shared"}, "prompt": "a lake", "size": "64x64"}
    before = await site.gateway.count_jobs()
    async with site.client(api_key=key) as theirs:
        for client in (site.client(), theirs):
            await client.images.generate(**same)  # type: ignore[call-overload]
        assert await site.gateway.count_jobs() == before + 2  # not one job for both
        assert [model.id async for model in theirs.models.list()] == ["standin"]
        with pytest.raises(openai.NotFoundError):
            await theirs.models.retrieve("standin-inpainting")
        with pytest.raises(openai.BadRequestError, match="No model on your plan supports inpaint"):
            await theirs.images.edit(image=png(), mask=png(hole=True), prompt="a cat")
