from base64 import b64encode
from typing import Any

import pytest

from api.jobs import eta
from api.jobs.eta import FRESH_SECONDS
from common.domain.delivery import DeliveryState
from common.domain.object_keys import result_key
from common.forecast.forecast import TenantPosition
from common.postgres.repositories.fair_queue.tenant_position import read_tenant_position
from common.postgres.repositories.jobs.workers import record_worker_heartbeat
from tests.integration.api.gateways import IMAGE, QUEUE, Gateway, new_key
from tests.support.caches import age_cache
from tests.support.requests import IMAGE_URL, INPAINT_BODY, TEXT2IMG_BODY

NOT_FOUND = {
    "status": "failed",
    "id": 0,
    "message": "Request not found",
    "messege": "Request not found",
    "output": [],
}


@pytest.mark.parametrize(
    "job_id", ["999999", "0", "-1", "abc", "1.5", "٣", "9" * 30, str(2**63), "1;drop"]
)
async def test_an_invalid_or_unknown_job_id_is_not_found(gateway: Gateway, job_id: str) -> None:
    assert await gateway.post(f"fetch/{job_id}") == NOT_FOUND


async def test_another_tenants_job_is_not_found(gateway: Gateway) -> None:
    job = await gateway.post("inpaint", INPAINT_BODY)
    stranger = await new_key(gateway.services, "bob")
    assert await gateway.post(f"fetch/{job['id']}", {"key": stranger}) == NOT_FOUND
    # Clients send the whole first request again.
    assert (await gateway.post(f"fetch/{job['id']}", INPAINT_BODY))["id"] == job["id"]


async def test_a_job_from_queued_to_succeeded(gateway: Gateway) -> None:
    submitted = await gateway.post("inpaint", {**INPAINT_BODY, "webhook": IMAGE_URL})
    path = f"fetch/{submitted['id']}"
    assert (await gateway.post(path))["future_links"][0].count("-1-0.png") == 1
    job = await gateway.claim()
    running = await gateway.post(path)
    assert (running["status"], running["webhook_status"]) == ("processing", "pending")
    assert running["future_links"][0].count("-1-0.png") == 1
    await gateway.finish(job)
    done = await gateway.post(path)
    assert (done["status"], done["webhook_status"]) == ("success", "pending")
    assert done["meta"] == submitted["meta"]


@pytest.mark.parametrize(
    ("state", "failures", "result"),
    [
        (DeliveryState.PENDING, 0, "pending"),
        (DeliveryState.PENDING, 2, "retrying"),
        (DeliveryState.DELIVERED, 2, "delivered"),
        (DeliveryState.EXHAUSTED, 9, "exhausted"),
        (DeliveryState.DISCARDED, 1, "exhausted"),
    ],
)
async def test_the_status_of_the_webhook_is_shown(
    gateway: Gateway, state: DeliveryState, failures: int, result: str
) -> None:
    submitted = await gateway.post("inpaint", {**INPAINT_BODY, "webhook": IMAGE_URL})
    await gateway.finish(await gateway.claim())
    async with gateway.services.operator_database.statement() as connection:
        await connection.exec_driver_sql(
            "UPDATE deliveries SET state = $1, failures = $2", (state.value, failures)
        )
    assert (await gateway.post(f"fetch/{submitted['id']}"))["webhook_status"] == result


async def test_a_canceled_job_is_shown_as_failed(gateway: Gateway) -> None:
    submitted = await gateway.post("inpaint", INPAINT_BODY)
    async with gateway.services.operator_database.statement() as connection:
        await connection.exec_driver_sql("UPDATE jobs SET state = 'canceled'")
    response = await gateway.post(f"fetch/{submitted['id']}")
    assert (response["status"], response["message"]) == (
        "failed",
        "the job failed for a reason that was not recorded",
    )


@pytest.mark.parametrize("as_base64", ["no", "yes"])
async def test_deleted_images_have_no_links(gateway: Gateway, as_base64: str) -> None:
    """The job is unchanged except for its links; the store is not asked."""
    fields = {**INPAINT_BODY, "mask_image": b64encode(IMAGE).decode(), "base64": as_base64}
    submitted = await gateway.post("inpaint", fields)
    job = await gateway.claim()
    await gateway.finish(job)
    for image in job.inputs.values():
        if image.object_key is not None:
            await gateway.services.storage.delete([image.object_key])
    await gateway.services.storage.delete(
        [result_key(job.tenant_id, job.file_prefix, job.attempt, 0)]
    )
    async with gateway.services.operator_database.statement() as connection:
        await connection.exec_driver_sql("UPDATE jobs SET objects_deleted_at = '2026-06-03 12:00Z'")
    response = await gateway.post(f"fetch/{submitted['id']}")
    result = "The images of this job were deleted on 2026-06-03."
    assert (response["status"], response["output"], response["proxy_links"]) == ("success", [], [])
    assert (response["message"], response["messege"]) == (result, result)
    assert response["meta"] == submitted["meta"] | {"init_image": IMAGE_URL, "mask_image": ""}


async def test_the_status_of_a_deleted_delivery_is_empty(gateway: Gateway) -> None:
    submitted = await gateway.post("inpaint", {**INPAINT_BODY, "webhook": IMAGE_URL})
    await gateway.finish(await gateway.claim())
    async with gateway.services.operator_database.statement() as connection:
        await connection.exec_driver_sql("DELETE FROM deliveries")
    assert (await gateway.post(f"fetch/{submitted['id']}"))["webhook_status"] == ""


async def test_a_repeated_request_whose_job_was_deleted_makes_a_new_one(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "order-9"}
    first = await gateway.post("inpaint", INPAINT_BODY, **key)
    assert (await gateway.post("inpaint", INPAINT_BODY, **key))["id"] == first["id"]
    async with gateway.services.operator_database.statement() as connection:
        await connection.exec_driver_sql("DELETE FROM jobs")
    assert (await gateway.post("inpaint", INPAINT_BODY, **key))["id"] != first["id"]
    assert await gateway.post(f"fetch/{first['id']}") == NOT_FOUND


async def test_an_idle_installation_has_no_load(gateway: Gateway) -> None:
    assert await gateway.post("system_load") == {"queue_num": 0, "queue_time": 0, "status": "ok"}


async def test_accepted_jobs_are_added_to_the_load(gateway: Gateway) -> None:
    await gateway.post("system_load")  # measured here; what is accepted afterwards is added
    for _ in range(3):
        await gateway.post("inpaint", INPAINT_BODY)
    await gateway.post("text2img", TEXT2IMG_BODY)
    load = await gateway.post("system_load")
    # 3 jobs of 5.5 units, half a second each while nothing has been measured.
    assert load["queue_num"] == 4
    assert load["queue_time"] in {8, 9}  # less the time since the queue was read


def age_caches(gateway: Gateway) -> None:
    """Age the caches by two seconds, so that everything is read again."""
    estimator = gateway.services.eta_estimator
    for cache in (estimator._forecasts, estimator._positions):
        age_cache(cache, FRESH_SECONDS)


async def test_estimates_use_measured_speed_and_queue_position(gateway: Gateway) -> None:
    async with gateway.services.operator_database.statement() as connection:
        await record_worker_heartbeat(connection, "worker-1", [QUEUE])
    first = await gateway.post("inpaint", {**INPAINT_BODY, "width": 1000, "height": 1000})
    assert first["tip"].startswith("This model has not finished a job yet, ")
    await gateway.finish(await gateway.claim(), seconds=21.0)  # a second for each unit
    age_caches(gateway)
    jobs = [await gateway.post("inpaint", {**INPAINT_BODY, "width": 1000, "height": 1000})] * 1
    jobs += [await gateway.post("inpaint", {**INPAINT_BODY, "width": 1000, "height": 1000})]
    assert [job["eta"] for job in jobs] == [21, 42]
    assert jobs[0]["tip"].startswith("Your job is queued or running")
    age_caches(gateway)
    again = [(await gateway.post(f"fetch/{job['id']}"))["eta"] for job in jobs]
    assert again == [21, 42]
    await gateway.claim()
    assert (await gateway.post(f"fetch/{jobs[0]['id']}"))["eta"] in {20, 21}


async def test_load_and_estimates_are_the_tenants_own(gateway: Gateway) -> None:
    hog = {"key": await new_key(gateway.services, "hog")}
    megapixel = {**INPAINT_BODY, "width": 1000, "height": 1000}
    for _ in range(20):
        last = await gateway.post("inpaint", {**megapixel, **hog})
    load = await gateway.post("system_load", hog)
    assert (load["queue_num"], load["queue_time"]) == (20, 210)  # 21 units, half a second each
    assert last["eta"] == 210
    # Nobody else waits for them, nor learns of them.
    assert await gateway.post("system_load") == {"queue_num": 0, "queue_time": 0, "status": "ok"}
    first = await gateway.post("inpaint", megapixel)
    assert first["eta"] == 11
    # A second job of the same tenant lets one of the hog's pass; the hog's wait for both.
    age_caches(gateway)
    second = await gateway.post("inpaint", megapixel)
    assert second["eta"] == 32
    age_caches(gateway)
    assert (await gateway.post(f"fetch/{last['id']}", hog))["eta"] == pytest.approx(231, abs=1)


async def test_a_job_of_higher_priority_has_an_earlier_estimate(gateway: Gateway) -> None:
    jobs = [
        await gateway.post("inpaint", {**INPAINT_BODY, "width": 1000, "height": 1000}) for _ in "ab"
    ]
    async with gateway.services.operator_database.statement() as connection:
        await connection.exec_driver_sql(
            "UPDATE jobs SET priority = 1 WHERE id = $1", (jobs[1]["id"],)
        )
    age_caches(gateway)
    etas = [(await gateway.post(f"fetch/{job['id']}"))["eta"] for job in jobs]
    assert etas == [21, 11]


async def test_the_first_response_considers_the_priority(gateway: Gateway) -> None:
    body = {**INPAINT_BODY, "width": 1000, "height": 1000}
    await gateway.post("inpaint", body)
    age_caches(gateway)
    urgent = await gateway.post("inpaint", {**body, "priority": 5})
    age_caches(gateway)
    assert urgent["eta"] == (await gateway.post(f"fetch/{urgent['id']}"))["eta"] == 11


async def test_polls_of_one_tenant_share_one_read(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await gateway.post("inpaint", INPAINT_BODY)
    readings: list[object] = []

    async def counted(*given: Any, **named: Any) -> TenantPosition:
        readings.append(named)
        return await read_tenant_position(*given, **named)

    monkeypatch.setattr(eta, "read_tenant_position", counted)
    monkeypatch.setattr("api.jobs.eta.FRESH_SECONDS", 60.0)
    age_caches(gateway)
    for _ in range(5):
        assert (await gateway.post(f"fetch/{job['id']}"))["status"] == "processing"
    assert len(readings) == 1
