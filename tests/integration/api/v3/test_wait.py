import asyncio
import base64
from typing import Any

import pytest
from types_boto3_s3 import S3Client

from common.settings import StorageSettings
from tests.integration.api.gateways import IMAGE, Gateway, make_settings, open_gateway, prefix_of
from tests.support.requests import IMAGE_URL, INPAINT_BODY


async def claim_soon(gateway: Gateway) -> Any:
    """Claim the job of a caller who is already waiting, as soon as it is recorded."""
    async with asyncio.timeout(10):
        while not await gateway.count_jobs():
            pass
    return await gateway.claim()


async def test_a_caller_gets_the_images_of_a_job_that_ends_in_time(
    patient_gateway: Gateway,
) -> None:
    submitting = asyncio.create_task(
        patient_gateway.post("inpaint", {**INPAINT_BODY, "samples": 2})
    )
    job = await claim_soon(patient_gateway)
    await patient_gateway.finish(job, seconds=1.91)
    response = await submitting
    assert list(response)[:4] == ["status", "generationTime", "id", "output"]
    assert (response["status"], response["generationTime"], response["id"]) == (
        "success",
        1.91,
        job.id,
    )
    assert response["proxy_links"] == response["output"]
    assert len(response["output"]) == 2
    assert f"generations/{job.file_prefix}-1-1.png" in response["output"][1]
    assert "message" not in response
    assert "messege" not in response
    assert response["nsfw_content_detected"] is False
    assert response["webhook_status"] == ""


async def test_base64_responses_hold_the_images(patient_gateway: Gateway) -> None:
    submitting = asyncio.create_task(
        patient_gateway.post("inpaint", {**INPAINT_BODY, "base64": "yes"})
    )
    await patient_gateway.finish(await claim_soon(patient_gateway))
    assert (await submitting)["output"] == [base64.b64encode(IMAGE).decode()]


async def test_a_waiting_caller_gets_the_failure(patient_gateway: Gateway) -> None:
    submitting = asyncio.create_task(patient_gateway.post("inpaint", INPAINT_BODY))
    job = await claim_soon(patient_gateway)
    reason = "could not fetch the image: HTTP 404"
    await patient_gateway.fail(job.claim, reason)
    assert await submitting == {
        "status": "failed",
        "id": job.id,
        "message": reason,
        "messege": reason,
        "output": [],
    }


async def test_a_caller_gets_a_processing_response_after_the_wait(
    database_url: str, redis_url: str, bucket: StorageSettings
) -> None:
    settings = make_settings(database_url, redis_url, bucket, sync_wait_seconds=0.05)
    async with open_gateway(settings) as gateway:
        assert (await gateway.post("inpaint", INPAINT_BODY))["status"] == "processing"


async def test_callers_can_wait_without_redis(database_url: str, bucket: StorageSettings) -> None:
    settings = make_settings(database_url, "redis://127.0.0.1:1/0", bucket, sync_wait_seconds=30)
    async with open_gateway(settings) as gateway:
        submitting = asyncio.create_task(
            gateway.post("inpaint", {**INPAINT_BODY, "webhook": IMAGE_URL})
        )
        await gateway.finish(await claim_soon(gateway))
        response = await submitting
    assert (response["status"], response["webhook_status"]) == ("success", "pending")


async def test_a_repeated_request_waits_like_the_first(patient_gateway: Gateway) -> None:
    again = {"idempotency-key": "order-1"}
    first = asyncio.create_task(patient_gateway.post("inpaint", INPAINT_BODY, **again))
    job = await claim_soon(patient_gateway)
    second = asyncio.create_task(patient_gateway.post("inpaint", INPAINT_BODY, **again))
    listening = patient_gateway.services.completions._waiting  # to know that both wait
    async with asyncio.timeout(10):
        while len(listening.get(job.file_prefix, ())) < 2:
            await patient_gateway.count_jobs()
    await patient_gateway.finish(job)
    assert await first == await second
    third = await patient_gateway.post("inpaint", INPAINT_BODY, **again)
    assert (third["status"], prefix_of(third)) == ("success", job.file_prefix)
    assert await patient_gateway.count_jobs() == 1


@pytest.mark.parametrize("changed", [{"prompt": "a dog"}, {"seed": 5}, {"unknown": 1}])
async def test_an_idempotency_key_used_for_another_request_is_rejected(
    gateway: Gateway, changed: dict[str, Any]
) -> None:
    first = await gateway.post("inpaint", INPAINT_BODY, **{"idempotency-key": "k"})
    response = await gateway.post(
        "inpaint", {**INPAINT_BODY, **changed}, **{"idempotency-key": "k"}
    )
    result = (
        f"This Idempotency-Key was already used for a different request (job {first['id']}). "
        "Use a new key for each new request."
    )
    assert response["message"]["Idempotency-Key"] == [result]
    assert await gateway.count_jobs() == 1


async def test_a_repeated_upload_is_the_same_request(gateway: Gateway) -> None:
    ids = set()
    for _ in range(2):
        response = await gateway.client.post(
            "/api/v3/img2img",
            data={"prompt": "a cat", "key": gateway.key},
            files={"init_image": ("a.png", b"\x89PNG", "image/png")},
            headers={"idempotency-key": "k"},
        )
        ids.add(response.json()["id"])
    assert len(ids) == 1


async def test_a_repeated_upload_stores_nothing(
    gateway: Gateway, bucket: StorageSettings, s3_client: S3Client
) -> None:
    await gateway.set_limits(max_queued=1)
    sent = {**INPAINT_BODY, "init_image": "aGVsbG8=", "mask_image": "aGVsbG8="}
    responses = [await gateway.post("inpaint", sent, **{"idempotency-key": "k"}) for _ in range(3)]
    assert {response["id"] for response in responses} == {responses[0]["id"]}
    other = await gateway.post("inpaint", {**sent, "seed": 5}, **{"idempotency-key": "k"})
    assert set(other["message"]) == {"Idempotency-Key"}
    stored = s3_client.list_objects_v2(Bucket=bucket.bucket)["Contents"]
    assert len(stored) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "a b"])
async def test_a_malformed_idempotency_key_is_rejected(gateway: Gateway, key: str) -> None:
    response = await gateway.post("inpaint", INPAINT_BODY, **{"idempotency-key": key})
    result = "The Idempotency-Key must be 1 to 255 visible ASCII characters."
    assert response["message"] == {"Idempotency-Key": [result]}
