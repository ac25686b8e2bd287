"""The outcomes of a job: success and every kind of failure."""

import asyncio
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from redis.asyncio import Redis
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from types_boto3_s3 import S3Client

from common.domain.generation import Endpoint
from common.domain.object_keys import input_key, result_key
from common.domain.record import InputImage
from common.messaging.completion import CHANNEL
from common.messaging.doorbell import DISPATCHER_LIST
from common.object_store.storage import Storage
from common.postgres.models import Delivery, UsageEntry
from common.runtime.clock import utc_now
from common.settings import StorageSettings, WorkerSettings
from tests.integration.worker.harness.engine import COLOUR
from tests.integration.worker.harness.engine_control import EngineResponse
from tests.integration.worker.harness.image_host import INIT, MASK, http_response
from tests.integration.worker.harness.worker_harness import HOOK, PROMPT, WorkerHarness
from tests.unit.worker.engine.sample_images import encoded, noise

OUR_ERROR = "the job failed because of an error in this service, which has been logged"


async def test_a_job_from_claim_to_finish(
    harness: WorkerHarness, redis: Redis, s3_client: S3Client, bucket: StorageSettings
) -> None:
    before = utc_now().timestamp()
    job_id = await harness.queue_inpaint(asked={"samples": 2, "inference_steps": 10})
    async with harness.worker() as worker, redis.pubsub() as hearing:
        await hearing.subscribe(CHANNEL)
        await hearing.get_message(timeout=10)
        assert await worker.runner.run_waiting_jobs("one") == 1
        heard: Any = await hearing.get_message(timeout=10)
        assert worker.heartbeat.claim_count == 0
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    assert (job["claimed_by"], job["lease_expires_at"], job["error_code"]) == (None, None, None)
    keys = [result_key(job["tenant_id"], job["file_prefix"], 1, index) for index in (0, 1)]
    assert job["result"]["object_keys"] == keys
    assert job["result"]["nsfw"] == [False, False]
    for key in keys:
        stored = s3_client.get_object(Bucket=bucket.bucket, Key=key)
        image = Image.open(BytesIO(stored["Body"].read()))
        assert (image.size, image.getpixel((0, 0))) == ((64, 64), COLOUR)
        assert stored["ContentType"] == "image/png"
    order = await harness.engine_control.generation()
    assert order.pixels == [[64, 64], [64, 64]]

    timeline = job["result"]["timeline"]
    names = ["claimed", "fetched", "generation_started", "generated", "uploaded"]
    times = [timeline[name] for name in names]
    assert [before, *times] == sorted([before, *times])
    assert times[-1] <= job["finished_at"].timestamp()
    assert 0 < job["result"]["generation_seconds"] <= times[3] - times[2]

    (usage,) = await harness.tenant.read_rows(UsageEntry)
    assert (usage["job_id"], usage["images"], usage["model"]) == (job_id, 2, "one")
    assert float(usage["megapixel_steps"]) == job["cost"]
    (delivery,) = await harness.tenant.read_rows(Delivery)
    assert (delivery["job_id"], delivery["state"]) == (job_id, "pending")
    assert (delivery["event"], delivery["url"]) == ("job.succeeded", HOOK)
    assert heard["data"] == job["file_prefix"].bytes
    assert await redis.llen(DISPATCHER_LIST) == 1


async def test_without_a_webhook_no_dispatcher_is_rung(
    harness: WorkerHarness, redis: Redis
) -> None:
    job_id = await harness.queue_inpaint(webhook_url=None)
    async with harness.worker() as worker:
        await worker.runner.run_waiting_jobs("one")
    assert (await harness.tenant.read_job(job_id))["state"] == "succeeded"
    assert await harness.count_records(job_id) == (0, 1)
    assert await redis.llen(DISPATCHER_LIST) == 0


async def test_inputs_may_be_uploaded_at_a_url_or_absent(
    harness: WorkerHarness, storage: Storage
) -> None:
    tenant = harness.tenant
    key = input_key(tenant.tenant_id, tenant.new_job().file_prefix, "mask_image")
    await storage.put(key, MASK)
    mixed = harness.input_images() | {"mask_image": InputImage(object_key=key)}
    jobs = [
        await harness.queue_inpaint(inputs=mixed),
        await harness.queue_inpaint(inputs={}, asked={"endpoint": Endpoint.TEXT2IMG}),
    ]
    async with harness.worker() as worker:
        assert await worker.runner.run_waiting_jobs("one") == 2
    assert [(await tenant.read_job(job))["state"] for job in jobs] == ["succeeded"] * 2
    sizes = [
        order.pixels for order in harness.engine_control.generations
    ]  # both were fetched for at once
    assert len(sizes) == 2
    assert [[64, 64], [64, 64]] in sizes
    assert [None, None] in sizes


@pytest.mark.parametrize(
    ("field", "image", "code"),
    [
        ("init_image", "missing.png", "fetch_rejected"),
        ("mask_image", "missing.png", "fetch_rejected"),
        ("init_image", "text.png", "invalid_image"),
        ("mask_image", "cut.png", "invalid_image"),
    ],
)
async def test_a_bad_image_fails_the_job_without_a_retry(
    harness: WorkerHarness, field: str, image: str, code: str
) -> None:
    inputs = harness.input_images() | {field: InputImage(url=harness.image_host.url(image))}
    await fails_at_once(harness, inputs, field, code)


async def test_a_blocked_address_fails_the_job_without_a_retry(harness: WorkerHarness) -> None:
    for url in ("http://169.254.169.254/latest", "http://[fc00::1]/a.png", "ftp://x.test/a"):
        inputs = harness.input_images() | {"init_image": InputImage(url=url)}
        await fails_at_once(harness, inputs, "init_image", "address_not_allowed")


async def test_a_bad_uploaded_image_fails_the_job_without_a_retry(
    harness: WorkerHarness, storage: Storage
) -> None:
    await storage.put("inputs/cut", INIT[:100])
    inputs = harness.input_images() | {"init_image": InputImage(object_key="inputs/cut")}
    await fails_at_once(harness, inputs, "init_image", "invalid_image")


async def fails_at_once(
    harness: WorkerHarness, inputs: dict[str, InputImage], field: str, code: str
) -> None:
    job_id = await harness.queue_inpaint(inputs=inputs)
    async with harness.worker() as worker:
        with capture_logs() as lines:
            assert await worker.runner.run_waiting_jobs("one") == 1
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"], job["error_code"]) == ("failed", 1, code)
    assert job["error_message"].startswith(f"{field}: ")
    assert "tried" not in job["error_message"]
    (delivery,) = [
        row for row in await harness.tenant.read_rows(Delivery) if row["job_id"] == job_id
    ]
    assert delivery["event"] == "job.failed"
    assert await harness.count_records(job_id) == (1, 0)
    assert harness.engine_control.generations == []
    assert not any("exc_info" in line and line["exc_info"] for line in lines)


async def test_a_bad_image_cancels_the_other_fetch(harness: WorkerHarness) -> None:
    harness.image_host.hold("mask.png")
    job_id = await harness.queue_inpaint(inputs=harness.input_images(init="missing.png"))
    async with harness.worker() as worker:
        await worker.runner.run_waiting_jobs("one")
        assert harness.image_host.peer
        await asyncio.wait_for(harness.image_host.peer.left.wait(), 20)
    assert (await harness.tenant.read_job(job_id))["error_message"].startswith("init_image: ")


@pytest.mark.parametrize("failure", ["busy", "silent", "missing", "engine", "unforeseen"])
async def test_temporary_errors_are_retried_until_the_attempts_are_used_up(
    harness: WorkerHarness, failure: str
) -> None:
    inputs, expected = harness.input_images(), ""
    if failure == "busy":
        inputs, expected = harness.input_images(mask="busy.png"), "mask_image: could not fetch"
    elif failure == "silent":
        harness.image_host.hold("init.png")
        harness = harness.replace(image_timeout_seconds=0.1)
        expected = "init_image: could not fetch"
    elif failure == "missing":
        inputs["init_image"] = InputImage(object_key="inputs/missing")
        expected = "this service's own image storage could not be reached"
    else:
        text = {"engine": "fail", "unforeseen": "crash"}[failure]
        harness.engine_control.responses.extend([EngineResponse(text)] * 3)
        expected = {"engine": "the model failed", "unforeseen": OUR_ERROR}[failure]
    job_id = await harness.queue_inpaint(inputs=inputs, max_attempts=3)
    async with harness.worker() as worker:
        for attempt, wait in ((1, 100), (2, 200)):
            with capture_logs():  # a traceback takes long to print
                assert await worker.runner.run_waiting_jobs("one") == 1
            assert await worker.runner.run_waiting_jobs("one") == 0  # not before it is due
            job = await harness.tenant.read_job(job_id)
            assert (job["state"], job["attempt"]) == ("queued", attempt)
            assert job["error_message"].startswith(expected)
            due_in = (job["available_at"] - utc_now()).total_seconds()
            assert wait - 60 < due_in <= wait
            assert await harness.count_records(job_id) == (0, 0)
            await harness.tenant.set_job(job_id, available_at=utc_now())
        with capture_logs():
            await worker.runner.run_waiting_jobs("one")
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"]) == ("failed", 3)
    assert job["error_message"].startswith(expected)
    assert job["error_message"].endswith("(tried 3 times)")
    assert await harness.count_records(job_id) == (1, 0)


async def test_a_busy_image_host_is_tried_again_when_it_asks_for_it(
    harness: WorkerHarness,
) -> None:
    pages = harness.image_host.pages
    served = pages["/init.png"]
    pages["/init.png"] = http_response(b"", "429 Too Many Requests\r\nRetry-After: 1800")
    job_id = await harness.queue_inpaint()
    async with harness.worker() as worker:
        await worker.runner.run_waiting_jobs("one")
        job = await harness.tenant.read_job(job_id)
        assert (job["state"], job["attempt"], job["error_code"]) == ("queued", 1, "fetch_failed")
        assert 1740 < (job["available_at"] - utc_now()).total_seconds() <= 1800
        pages["/init.png"] = served
        await harness.tenant.set_job(job_id, available_at=utc_now())
        await worker.runner.run_waiting_jobs("one")
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)


async def test_a_later_attempt_succeeds_and_leaves_no_error(harness: WorkerHarness) -> None:
    harness.engine_control.responses.append(EngineResponse("fail"))
    job_id = await harness.queue_inpaint()
    async with harness.worker() as worker:
        await worker.runner.run_waiting_jobs("one")
        await harness.tenant.set_job(job_id, available_at=utc_now())
        await worker.runner.run_waiting_jobs("one")
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"], job["error_code"]) == ("succeeded", 2, None)
    assert job["result"]["object_keys"][0].endswith("-2-0.png")
    assert await harness.count_records(job_id) == (1, 1)


async def test_an_unsupported_request_is_not_retried(harness: WorkerHarness) -> None:
    harness.engine_control.responses.append(EngineResponse("reject"))
    job_id = await harness.queue_inpaint()
    async with harness.worker() as worker:
        await worker.runner.run_waiting_jobs("one")
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["error_code"]) == ("failed", "unsupported_request")
    assert job["error_message"] == "the model one cannot do that"


async def test_every_log_line_about_a_job_names_it_and_holds_no_secret(
    harness: WorkerHarness,
) -> None:
    responses = ("crash", "fail", "reject", "generate")
    harness.engine_control.responses.extend(EngineResponse(text) for text in responses)
    # Without input images they reach the engine in the order of their claims.
    words: dict[str, Any] = {"inputs": {}, "asked": {"endpoint": Endpoint.TEXT2IMG}}
    jobs = [await harness.queue_inpaint(max_attempts=number, **words) for number in (3, 1, 1, 1)]
    secret = harness.image_host.url("missing.png?signature=hush")
    inputs = harness.input_images() | {"init_image": InputImage(secret)}
    jobs.append(await harness.queue_inpaint(inputs=inputs))
    # One after the other: together, any of them might get any of the responses.
    lines = await logged(harness.replace(worker_settings=WorkerSettings(concurrency=1)))
    assert {line["job_id"] for line in lines} == set(jobs)
    assert {line["attempt"] for line in lines} == {1}
    assert {line["tenant_id"] for line in lines} == {harness.tenant.tenant_id}
    for hidden in (PROMPT, "hush", harness.image_host.url("")):
        assert hidden not in str(lines)
    events = {
        job: [line["event"] for line in lines if line["job_id"] == job and line["event"]]
        for job in jobs
    }
    assert list(events.values()) == [
        ["job_claimed", "attempt_failed", "job_retry_scheduled"],
        ["job_claimed", "attempt_failed", "job_failed"],
        ["job_claimed", "attempt_failed", "job_failed"],
        ["job_claimed", "job_succeeded"],
        ["job_claimed", "attempt_failed", "job_failed"],
    ]
    failed = {line["job_id"]: line for line in lines if line["event"] == "attempt_failed"}
    errors = [failed[job]["error"] for job in jobs[:2]]
    assert errors == ["ZeroDivisionError", "GenerationError"]
    assert [bool(failed[job]["exc_info"]) for job in jobs if job in failed] == [True, *[False] * 3]
    assert failed[jobs[1]]["detail"] == "out of memory on cuda:0"


async def logged(harness: WorkerHarness) -> list[Any]:
    """Run all jobs and return the log lines, with their bound context."""
    async with harness.worker() as worker:
        with capture_logs(processors=[merge_contextvars]) as lines:
            await worker.runner.run_waiting_jobs("one")
    return list(lines)


async def test_a_large_image_is_resized(harness: WorkerHarness, storage: Storage) -> None:
    await storage.put("inputs/large", encoded(noise((300, 200))))
    inputs = harness.input_images() | {"init_image": InputImage(object_key="inputs/large")}
    job_id = await harness.queue_inpaint(inputs=inputs)
    async with harness.worker() as worker:
        await worker.runner.run_waiting_jobs("one")
    assert (await harness.tenant.read_job(job_id))["state"] == "succeeded"
    assert harness.engine_control.generations[0].pixels[0] == [64, 64]


async def test_an_unexpected_timeout_fails_the_job_instead_of_releasing_it(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(_job: object) -> None:
        raise TimeoutError

    job_id = await harness.queue_inpaint(max_attempts=1)
    async with harness.worker() as worker:
        monkeypatch.setattr(worker.transfers, "fetch", fetch)
        with capture_logs():
            await worker.runner.run_waiting_jobs("one")
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["error_message"]) == ("failed", f"{OUR_ERROR} (tried 1 time)")
