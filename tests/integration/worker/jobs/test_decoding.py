"""What a hostile picture does to the worker that decodes it: nothing, beyond its own job."""

import asyncio
import os
import signal
from typing import Any

import pytest

from common.domain.record import InputImage
from tests.bench.rig.cpu import children_of
from tests.integration.dispatcher.program import running
from tests.integration.worker.harness.engine import StudioEngine
from tests.integration.worker.harness.image_host import INIT, answer
from tests.integration.worker.harness.workshop import WorkerHarness
from tests.integration.worker.lifecycle.test_process import ended_well
from tests.unit.worker.engine.image_sandbox import odd_decoder
from tests.unit.worker.engine.images.test_decode import png_header

LOST = "init_image: decoding the image ended the process that did it"


def hang(workshop: WorkerHarness, deed: bytes) -> dict[str, InputImage]:
    """Put a picture into the gallery that makes its decoder do that."""
    workshop.gallery.pages["/odd.png"] = answer(INIT + deed)
    return workshop.pictures(init="odd.png")


@pytest.mark.parametrize("deed", [b"SEGFAULT", b"KILLED  "])
async def test_a_picture_that_kills_its_decoder_costs_its_own_job_alone(
    workshop: WorkerHarness, deed: bytes
) -> None:
    workshop = workshop.having(decoder=odd_decoder.NAME)
    engine = StudioEngine(workshop.studio.folder)
    first = await workshop.queued()
    bad = await workshop.queued(inputs=hang(workshop, deed), max_attempts=1)
    beside = await workshop.queued()
    async with workshop.worker(engine=engine) as worker:
        assert await worker.runner.look("one") == 3
        after = await workshop.queued()
        assert await worker.runner.look("one") == 1
    row = await workshop.books.job(bad)
    assert (row["state"], row["error_code"]) == ("failed", "decoding_failed")
    assert row["error_message"] == f"{LOST} (tried 1 time)"
    assert await workshop.traces(bad) == (1, 0)
    for job_id in (first, beside, after):
        row = await workshop.books.job(job_id)
        assert (row["state"], row["attempt"]) == ("succeeded", 1)


async def test_it_is_tried_again_since_the_picture_may_be_innocent(workshop: WorkerHarness) -> None:
    job_id = await workshop.having(decoder=odd_decoder.NAME).queued(
        inputs=hang(workshop, b"KILLED  ")
    )
    async with workshop.having(decoder=odd_decoder.NAME).worker() as worker:
        await worker.runner.look("one")
    row = await workshop.books.job(job_id)
    assert (row["state"], row["attempt"], row["error_code"]) == ("queued", 1, "decoding_failed")


async def test_the_worker_process_goes_on_with_its_model_loaded(
    workshop: WorkerHarness, environment: dict[str, str]
) -> None:
    """A decoder is killed from outside while its picture is on its way; the next job is drawn."""
    async with running(environment, "worker") as program:
        await program.said("worker_ready")
        worker = program.process.pid
        killed = children_of(worker)
        assert len(killed) == 2
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        job_id = await workshop.queued()
        await program.said("job_succeeded")
        assert not killed & children_of(worker)
        bomb = await queued_bomb(workshop)
        await program.said("job_failed")
        last = await workshop.queued()
        await program.said("job_succeeded")
        program.process.terminate()
        await ended_well(program, workshop)
    assert {order.process for order in workshop.studio.orders} == {worker}
    row = await workshop.books.job(bomb)
    assert row["error_message"] == "init_image: 89.5 megapixels, at most 25 are taken"
    for one in (job_id, last):
        assert (await workshop.books.job(one))["state"] == "succeeded"


async def queued_bomb(workshop: WorkerHarness) -> int:
    workshop.gallery.pages["/bomb.png"] = answer(png_header(9460, 9458))
    return await workshop.queued(inputs=workshop.pictures(init="bomb.png"))


async def test_the_pictures_of_jobs_claimed_together_are_fetched_together(
    workshop: WorkerHarness,
) -> None:
    """The gallery answers nobody before all have asked: one after the other would never end."""
    names = [f"{kind}{number}.png" for number in range(3) for kind in ("init", "mask")]
    all_asked: Any = asyncio.Event()
    for name in names:
        kind = name[:4]
        workshop.gallery.pages[f"/{name}"] = workshop.gallery.pages[f"/{kind}.png"]
        workshop.gallery.holds[f"/{name}"] = all_asked
    jobs = [
        await workshop.queued(inputs=workshop.pictures(f"init{number}.png", f"mask{number}.png"))
        for number in range(3)
    ]
    async with workshop.worker() as worker:
        looking = asyncio.create_task(worker.runner.look("one"))
        for name in names:
            await workshop.gallery.asked_for(name)
        assert worker.heartbeat.held == 3
        assert workshop.studio.orders == []
        all_asked.set()
        assert await looking == 3
    rows = [await workshop.books.job(job_id) for job_id in jobs]
    assert [row["state"] for row in rows] == ["succeeded"] * 3


async def test_a_picture_is_decoded_while_the_other_is_still_on_its_way(
    workshop: WorkerHarness,
) -> None:
    workshop.gallery.hold("mask.png")
    job_id = await workshop.queued(inputs=workshop.pictures(init="cut.png"))
    async with workshop.worker() as worker:
        assert await worker.runner.look("one") == 1
    row = await workshop.books.job(job_id)
    assert (row["state"], row["error_code"]) == ("failed", "invalid_image")


async def test_what_the_server_calls_a_picture_counts_for_nothing(workshop: WorkerHarness) -> None:
    pages = workshop.gallery.pages
    pages["/page.html"] = pages["/init.png"].replace(b"image/png", b"text/html")
    taken = await workshop.queued(inputs=workshop.pictures(init="page.html"))
    refused = await workshop.queued(inputs=workshop.pictures(init="text.png"))
    async with workshop.worker() as worker:
        await worker.runner.look("one")
    assert (await workshop.books.job(taken))["state"] == "succeeded"
    row = await workshop.books.job(refused)
    assert row["error_message"] == "init_image: not a PNG, JPEG or WebP image"


async def test_a_picture_that_did_not_come_is_named(workshop: WorkerHarness) -> None:
    inputs = workshop.pictures()
    del inputs["mask_image"]
    job_id = await workshop.queued(inputs=inputs)
    async with workshop.worker() as worker:
        await worker.runner.look("one")
    row = await workshop.books.job(job_id)
    assert row["error_message"] == "mask_image: an image is needed"
