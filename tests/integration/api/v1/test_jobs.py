"""A tenant's own jobs: how far one is, and canceling one."""

import asyncio
import base64
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio.client import PubSub

from common.domain.record import JobRecord
from common.messaging.cancellation import CHANNEL
from common.messaging.progress import AttemptName, JobProgress, write_progress
from common.settings import RedisSettings, Settings
from deploy.local.servers.ports import free_port
from tests.integration.api.gateways import Gateway, new_key, open_gateway
from tests.integration.api.v1.harness import PROBLEM
from tests.support.requests import IMAGE_URL, INPAINT_BODY

PREVIEW = b"\xff\xd8 a small image"


async def ask(gateway: Gateway, method: str, path: str, key: str = "") -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {key or gateway.key}"}
    response = await gateway.client.request(method, f"/api/v1/jobs/{path}", headers=headers)
    if response.status_code >= 400:
        assert response.headers["content-type"] == PROBLEM
    return response.status_code, response.json()


async def report_progress(
    gateway: Gateway, job: JobRecord, progress: JobProgress, attempt: int = 0
) -> None:
    """Report progress as the worker of the job does."""
    name = AttemptName(job.file_prefix, attempt or job.attempt)
    await write_progress(gateway.services.redis, {name: progress}, [])


async def state_and_records(gateway: Gateway, job_id: int) -> tuple[Any, ...]:
    async with gateway.services.operator_database.statement() as connection:
        row = await connection.exec_driver_sql(
            "SELECT state, (SELECT count(*) FROM deliveries WHERE event = 'job.canceled'),"
            " (SELECT count(*) FROM usage_entries) FROM jobs WHERE id = $1",
            (job_id,),
        )
        return tuple(row.one())


async def test_progress_from_queued_to_succeeded(gateway: Gateway) -> None:
    submitted = await gateway.post("inpaint", INPAINT_BODY)
    path, nothing = f"{submitted['id']}/progress", {"step": None, "steps": None, "preview": None}
    expected = {"id": submitted["id"], "state": "queued", **nothing}
    assert await ask(gateway, "GET", path) == (200, expected)
    job = await gateway.claim()
    assert await ask(gateway, "GET", path) == (200, expected | {"state": "running"})
    assert "progress" not in await gateway.post(f"fetch/{job.id}")
    await report_progress(gateway, job, JobProgress(7, 20, PREVIEW))
    await report_progress(gateway, job, JobProgress(8, 20))
    preview = "data:image/jpeg;base64," + base64.b64encode(PREVIEW).decode()
    assert await ask(gateway, "GET", path) == (
        200,
        {"id": job.id, "state": "running", "step": 8, "steps": 20, "preview": preview},
    )
    fetched = await gateway.post(f"fetch/{job.id}")
    assert (fetched["status"], fetched["progress"]) == ("processing", {"step": 8, "steps": 20})
    await gateway.finish(job)
    # Progress that its worker reported last is not shown any more.
    assert await ask(gateway, "GET", path) == (200, expected | {"state": "succeeded"})
    assert "progress" not in await gateway.post(f"fetch/{job.id}")


async def test_progress_of_another_attempt_is_not_shown(gateway: Gateway) -> None:
    await gateway.post("inpaint", INPAINT_BODY)
    job = await gateway.claim()
    await report_progress(gateway, job, JobProgress(19, 20), attempt=job.attempt + 1)
    assert (await ask(gateway, "GET", f"{job.id}/progress"))[1]["step"] is None


async def test_without_redis_progress_is_empty_and_jobs_can_be_canceled(settings: Settings) -> None:
    nowhere = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    settings.redis = RedisSettings(url=nowhere, timeout_seconds=0.5)
    async with open_gateway(settings) as gateway:
        await gateway.post("inpaint", INPAINT_BODY)
        job = await gateway.claim()
        for _ in range(2):
            code, body = await ask(gateway, "GET", f"{job.id}/progress")
            assert (code, body["state"], body["step"]) == (200, "running", None)
        assert (await gateway.post(f"fetch/{job.id}"))["status"] == "processing"
        assert (await ask(gateway, "POST", f"{job.id}/cancel"))[0] == 200


@pytest.mark.parametrize(("method", "what"), [("GET", "progress"), ("POST", "cancel")])
async def test_another_tenants_job_looks_the_same_as_a_missing_one(
    gateway: Gateway, method: str, what: str
) -> None:
    submitted = await gateway.post("inpaint", INPAINT_BODY)
    job = await gateway.claim()
    await report_progress(gateway, job, JobProgress(7, 20, PREVIEW))
    stranger = await new_key(gateway.services, "bob")
    for job_id in (submitted["id"], 999_999):
        code, body = await ask(gateway, method, f"{job_id}/{what}", stranger)
        assert (code, body["type"]) == (404, "urn:infill:problem:not_found")
        assert body["detail"] == "there is no job with this id"
    assert (await ask(gateway, method, f"0/{what}"))[0] == 422
    assert (await ask(gateway, method, f"{job.id}/{what}", "inf_wrong"))[0] == 401
    assert (await state_and_records(gateway, job.id))[0] == "running"


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_job_is_canceled_once(gateway: Gateway, *, claimed: bool) -> None:
    submitted = await gateway.post("inpaint", {**INPAINT_BODY, "webhook": IMAGE_URL})
    job_id = submitted["id"]
    if claimed:
        await gateway.claim()
    prefix = await gateway.read_column("file_prefix", job_id)
    async with gateway.services.redis.pubsub(ignore_subscribe_messages=True) as hearing:
        await hearing.subscribe(CHANNEL)
        assert await ask(gateway, "POST", f"{job_id}/cancel") == (
            200,
            {"id": job_id, "state": "canceled"},
        )
        assert (await next_message(hearing))["data"] == prefix.bytes
    assert await state_and_records(gateway, job_id) == ("canceled", 1, 0)
    code, body = await ask(gateway, "POST", f"{job_id}/cancel")
    assert (code, body["detail"]) == (409, "the job has already ended: its state is canceled")
    fetched = await gateway.post(f"fetch/{job_id}")
    assert (fetched["status"], fetched["message"]) == (
        "failed",
        "the job was canceled by its owner through the API",
    )
    async with gateway.services.operator_database.statement() as connection:
        counted = await connection.exec_driver_sql(
            "SELECT (SELECT max(running) FROM tenant_queues), max(running) FROM tenant_shares"
        )
        assert counted.one() == (0, 0)


async def next_message(hearing: PubSub) -> Any:
    while True:
        message = await hearing.get_message(timeout=10)
        if message is not None:
            return message


async def test_a_waiting_caller_gets_a_response_when_the_job_is_canceled(
    patient_gateway: Gateway,
) -> None:
    waiting = asyncio.create_task(patient_gateway.post("inpaint", INPAINT_BODY))
    async with asyncio.timeout(20):
        while not await patient_gateway.count_jobs():
            pass  # each look waits for Postgres
    assert (await ask(patient_gateway, "POST", "1/cancel"))[0] == 200
    assert (await waiting)["message"] == "the job was canceled by its owner through the API"
