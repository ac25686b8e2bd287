"""A hostile image fails its own job and harms neither the worker nor other jobs."""

import asyncio
import os
import signal
from typing import Any

import pytest

from common.domain.record import InputImage
from tests.bench.rig.cpu import children_of
from tests.integration.dispatcher.program import running
from tests.integration.worker.harness.engine import ControlledEngine
from tests.integration.worker.harness.image_host import INIT, http_response
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.integration.worker.lifecycle.test_process import assert_clean_exit
from tests.unit.worker.engine.image_sandbox import odd_decoder
from tests.unit.worker.engine.images.test_decode import png_header
from worker.engine.image_sandbox.pool import POOL_SIZE

LOST = "init_image: the process that decodes images crashed on this image; the file may be damaged"


def hang(harness: WorkerHarness, deed: bytes) -> dict[str, InputImage]:
    """Serve an image that makes its decoder do the deed."""
    harness.image_host.pages["/odd.png"] = http_response(INIT + deed)
    return harness.input_images(init="odd.png")


@pytest.mark.parametrize("deed", [b"SEGFAULT", b"KILLED  "])
async def test_an_image_that_kills_its_decoder_fails_its_own_job_only(
    harness: WorkerHarness, deed: bytes
) -> None:
    harness = harness.replace(decoder=odd_decoder.NAME)
    engine = ControlledEngine(harness.engine_control.folder)
    first = await harness.queue_inpaint()
    bad = await harness.queue_inpaint(inputs=hang(harness, deed), max_attempts=1)
    beside = await harness.queue_inpaint()
    async with harness.worker(engine=engine) as worker:
        assert await worker.runner.run_waiting_jobs("one") == 3
        after = await harness.queue_inpaint()
        assert await worker.runner.run_waiting_jobs("one") == 1
    row = await harness.tenant.read_job(bad)
    assert (row["state"], row["error_code"]) == ("failed", "decoding_failed")
    assert row["error_message"] == f"{LOST} (tried 1 time)"
    assert await harness.count_records(bad) == (1, 0)
    for job_id in (first, beside, after):
        row = await harness.tenant.read_job(job_id)
        assert (row["state"], row["attempt"]) == ("succeeded", 1)


async def test_a_killed_decoder_is_retried(harness: WorkerHarness) -> None:
    job_id = await harness.replace(decoder=odd_decoder.NAME).queue_inpaint(
        inputs=hang(harness, b"KILLED  ")
    )
    async with harness.replace(decoder=odd_decoder.NAME).worker() as worker:
        await worker.runner.run_waiting_jobs("one")
    row = await harness.tenant.read_job(job_id)
    assert (row["state"], row["attempt"], row["error_code"]) == ("queued", 1, "decoding_failed")


async def test_the_worker_process_goes_on_with_its_model_loaded(
    harness: WorkerHarness, environment: dict[str, str]
) -> None:
    """Decoders are killed from outside; the same worker generates the next jobs."""
    async with running(environment, "worker") as program:
        await program.wait_for_event("worker_ready")
        worker = program.process.pid
        killed = children_of(worker)
        assert len(killed) == POOL_SIZE
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        job_id = await harness.queue_inpaint()
        await program.wait_for_event("job_succeeded")
        assert killed - children_of(worker)  # those that were used since have been replaced
        bomb = await queue_bomb(harness)
        await program.wait_for_event("job_failed")
        last = await harness.queue_inpaint()
        await program.wait_for_event("job_succeeded")
        program.process.terminate()
        await assert_clean_exit(program, harness)
    assert {order.process for order in harness.engine_control.generations} == {worker}
    row = await harness.tenant.read_job(bomb)
    assert (
        row["error_message"] == "init_image: the image has 89.5 megapixels; at most 25 are accepted"
    )
    for one in (job_id, last):
        assert (await harness.tenant.read_job(one))["state"] == "succeeded"


async def queue_bomb(harness: WorkerHarness) -> int:
    harness.image_host.pages["/bomb.png"] = http_response(png_header(9460, 9458))
    return await harness.queue_inpaint(inputs=harness.input_images(init="bomb.png"))


async def test_the_images_of_jobs_claimed_together_are_fetched_together(
    harness: WorkerHarness,
) -> None:
    """The host responds once all images are requested: one after the other would never end."""
    names = [f"{kind}{number}.png" for number in range(3) for kind in ("init", "mask")]
    all_asked: Any = asyncio.Event()
    for name in names:
        kind = name[:4]
        harness.image_host.pages[f"/{name}"] = harness.image_host.pages[f"/{kind}.png"]
        harness.image_host.holds[f"/{name}"] = all_asked
    jobs = [
        await harness.queue_inpaint(
            inputs=harness.input_images(f"init{number}.png", f"mask{number}.png")
        )
        for number in range(3)
    ]
    async with harness.worker() as worker:
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        for name in names:
            await harness.image_host.wait_for_request(name)
        assert worker.heartbeat.claim_count == 3
        assert harness.engine_control.generations == []
        all_asked.set()
        assert await running_jobs == 3
    rows = [await harness.tenant.read_job(job_id) for job_id in jobs]
    assert [row["state"] for row in rows] == ["succeeded"] * 3


async def test_an_image_is_decoded_while_the_other_is_still_being_fetched(
    harness: WorkerHarness,
) -> None:
    harness.image_host.hold("mask.png")
    job_id = await harness.queue_inpaint(inputs=harness.input_images(init="cut.png"))
    async with harness.worker() as worker:
        assert await worker.runner.run_waiting_jobs("one") == 1
    row = await harness.tenant.read_job(job_id)
    assert (row["state"], row["error_code"]) == ("failed", "invalid_image")


async def test_the_content_type_of_an_image_is_ignored(harness: WorkerHarness) -> None:
    pages = harness.image_host.pages
    pages["/page.html"] = pages["/init.png"].replace(b"image/png", b"text/html")
    taken = await harness.queue_inpaint(inputs=harness.input_images(init="page.html"))
    rejected = await harness.queue_inpaint(inputs=harness.input_images(init="text.png"))
    async with harness.worker() as worker:
        await worker.runner.run_waiting_jobs("one")
    assert (await harness.tenant.read_job(taken))["state"] == "succeeded"
    row = await harness.tenant.read_job(rejected)
    assert row["error_message"] == "init_image: the file is not a PNG, JPEG or WebP image"


async def test_a_missing_image_is_named(harness: WorkerHarness) -> None:
    inputs = harness.input_images()
    del inputs["mask_image"]
    job_id = await harness.queue_inpaint(inputs=inputs)
    async with harness.worker() as worker:
        await worker.runner.run_waiting_jobs("one")
    row = await harness.tenant.read_job(job_id)
    assert row["error_message"] == "mask_image: inpaint requires this image, but none was sent"
