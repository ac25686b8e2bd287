"""Latency of one tenant's small jobs beside a tenant whose images arrive or decode slowly."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx2
from PIL import Image
from sqlalchemy import func, select

from common.domain.generation import Endpoint, GenerationRequest
from common.domain.record import InputImage, NewJob
from common.operations.tenants import create_tenant
from common.postgres.models import Job
from common.postgres.repositories.jobs.finish import cancel
from common.postgres.repositories.jobs.record import JobRecorded, record_job
from common.runtime.clock import monotonic
from common.settings.section import export_environment
from deploy.cli.operators.run import current_operator
from deploy.local.sample_server import sample_server
from deploy.local.servers.ports import LOOPBACK
from deploy.local.stack import worker_process
from tests.bench.figures import Figure, percentile
from tests.bench.rig.stack import QUEUE, SMALL_SIDE, Rig
from tests.bench.sizes import NeighbourSizes, Sizes

MILLISECONDS: Final = 1000
TARGET: Final = 2.0
SLOW_IMAGE: Final = "slow.jpg"
SYNC_WAIT: Final = "INFILL_SYNC_WAIT_SECONDS"
DEADLINE_SECONDS: Final = 60.0


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Measure the latency alone, beside silent image hosts, and beside slow images."""
    load = sizes.neighbours
    export_environment({SYNC_WAIT: "60"})
    gateway = await rig.start_gateway()
    export_environment({SYNC_WAIT: "0"})
    url = f"http://{LOOPBACK}:{gateway}/api/v3/inpaint"
    await rig.processes.start(worker_process())
    async with (
        httpx2.AsyncClient(trust_env=False, timeout=120) as client,
        _silent_host() as silent,
        _slow_images(load) as slow,
    ):
        await _latencies(rig, client, url, load.warm_up)
        alone = await _latencies(rig, client, url, load.jobs)
        figures = []
        for name, image in (("silent image hosts", silent), ("slow JPEGs", slow)):
            async with _neighbour(rig, image, load.slow_jobs) as tenant_id:
                beside = await _latencies(rig, client, url, load.jobs)
                left = await _count(rig, tenant_id, ("queued", "running"))
            figures.append(_figure(name, beside, alone, f"{left} of {load.slow_jobs}"))
    return figures


async def _latencies(rig: Rig, client: httpx2.AsyncClient, url: str, jobs: int) -> list[float]:
    """Send jobs one after another; return the milliseconds from request to result of each."""
    times = []
    for _ in range(jobs):
        begun = monotonic()
        response = (await client.post(url, json=rig.request())).json()
        assert response["status"] == "success", response
        times.append((monotonic() - begun) * MILLISECONDS)
    return times


@asynccontextmanager
async def _neighbour(rig: Rig, image: str, jobs: int) -> AsyncIterator[int]:
    """Queue jobs of a new tenant on the default plan; cancel them at the end of the block."""
    name = f"neighbour-{uuid4().hex}"
    tenant = await create_tenant(rig.database, current_operator(), name)
    async with rig.database.direct() as connection:
        recorded = [await record_job(connection, _slow_job(tenant.id, image)) for _ in range(jobs)]
    async with asyncio.timeout(DEADLINE_SECONDS):  # the worker polls, it was not rung for them
        while await _count(rig, tenant.id, ("queued",)) == jobs:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    yield tenant.id
    async with rig.database.statement() as connection:
        for job in recorded:
            assert isinstance(job, JobRecorded)
            await cancel(connection, tenant_id=tenant.id, job_id=job.job_id, message="measured")


def _slow_job(tenant_id: int, image: str) -> NewJob:
    side = SMALL_SIDE
    request = GenerationRequest(
        Endpoint.INPAINT, QUEUE, "a cat", "", side, side, 1, 30, 7.5, strength=0.7, seed=1
    )
    inputs = {name: InputImage(url=image) for name in ("init_image", "mask_image")}
    return NewJob(tenant_id, uuid4(), QUEUE, request, inputs, base64=False, max_attempts=3)


async def _count(rig: Rig, tenant_id: int, states: tuple[str, ...]) -> int:
    counted = select(func.count()).where(Job.tenant_id == tenant_id, Job.state.in_(states))
    async with rig.database.statement() as connection:
        return (await connection.execute(counted)).scalar_one()


@asynccontextmanager
async def _silent_host() -> AsyncIterator[str]:
    """Accept connections and never respond; yield the URL of an image there."""

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the worker gives up
        writer.close()

    server = await asyncio.start_server(stay_silent, LOOPBACK, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://{LOOPBACK}:{port}/image.png"
        server.close()


@asynccontextmanager
async def _slow_images(load: NeighbourSizes) -> AsyncIterator[str]:
    """Serve a progressive JPEG of many scans, each of which covers the whole image."""
    with tempfile.TemporaryDirectory(prefix="infill-bench-") as folder:
        file = Path(folder) / SLOW_IMAGE
        Image.new("RGB", (load.side, load.side), "grey").save(file, progressive=True)
        jpeg = file.read_bytes()
        scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
        file.write_bytes(jpeg[:-2] + scan * (load.scans - jpeg.count(b"\xff\xda")) + jpeg[-2:])
        async with sample_server(Path(folder)) as server:
            yield f"{server.base_url}/{SLOW_IMAGE}"


def _figure(name: str, beside: list[float], alone: list[float], left: str) -> Figure:
    return Figure(
        f"small job beside {name}, p99",
        percentile(beside, 99),
        "ms",
        TARGET,
        at_least=False,
        baseline=percentile(alone, 99),
        note=f"{len(beside)} jobs, one at a time; p50 {percentile(beside, 50):.1f} ms, alone "
        f"{percentile(alone, 50):.1f} ms; {left} jobs of the neighbour had not ended",
    )
