"""CPU time to fetch and decode an image, worker and decoder processes together."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from time import process_time

import numpy as np
import uvloop
from PIL import Image
from pydantic import SecretStr

from common.domain.generation import Endpoint
from common.domain.record import InputImage, JobRecord
from common.object_store.storage import Storage
from common.outbound import Guard
from common.settings import OutboundSettings, StorageSettings, WorkerSettings
from deploy.local.processes.child import Child
from deploy.local.processes.readiness import responds_ok
from deploy.local.processes.supervisor import Supervisor
from deploy.local.sample_server import SAMPLES
from deploy.local.servers.ports import LOOPBACK, free_port
from tests.bench.figures import Figure
from tests.bench.rig.cpu import cpu_seconds
from tests.bench.sizes import ImageSizes, Sizes
from tests.support.generation_request import REQUEST, job_record
from tests.unit.worker.engine.sample_images import encoded
from worker.engine.image_sandbox.pool import DecoderPool
from worker.engine.images.inputs import read_image
from worker.image_store.store import ImageStore
from worker.image_transfers import ImageTransfers

MILLISECONDS = 1000
TARGET = 5
GRAIN = 4  # of 255 levels, as of a photograph taken indoors


def photograph(side: int) -> Image.Image:
    """Return soft shapes under a sensor's grain: usual input, and the worst case of PNG."""
    draw = np.random.default_rng(0)
    shapes = Image.fromarray(draw.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8))
    soft = np.asarray(shapes.resize((side, side), Image.Resampling.BICUBIC), dtype=float)
    grain = draw.normal(0, GRAIN, (side, side, 1))
    return Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))


def image_files(side: int) -> dict[str, bytes]:
    """Return the files that are fetched, by their description."""
    sample = (SAMPLES / "bench.png").read_bytes()
    grainy = photograph(side)
    return {
        "the demo's image, a PNG": sample,
        "the demo's mask, a PNG": (SAMPLES / "bench_mask.png").read_bytes(),
        "the demo's image as JPEG": encoded(Image.open(BytesIO(sample)), "JPEG", quality=90),
        "a grainy photograph as PNG": encoded(grainy),
        "the same photograph as JPEG": encoded(grainy, "JPEG", quality=90),
    }


async def measure(sizes: Sizes) -> list[Figure]:
    """Fetch each image many times; the server's process, which is not counted, is another one."""
    files = image_files(sizes.images.side)
    with tempfile.TemporaryDirectory(prefix="infill-bench-") as home:
        folder = Path(home) / "images"
        folder.mkdir()
        for number, data in enumerate(files.values()):
            (folder / str(number)).write_bytes(data)
        async with _serving(Path(home), folder) as url:
            # On a loop such as a worker's, which has one in a thread too.
            return await asyncio.to_thread(uvloop.run, _measure(files, url, sizes.images))


async def _measure(files: dict[str, bytes], url: str, sizes: ImageSizes) -> list[Figure]:
    async with _transfers() as (transfers, decoders):
        return [
            await _figure(name, data, f"{url}/{number}", transfers, decoders, sizes)
            for number, (name, data) in enumerate(files.items())
        ]


@asynccontextmanager
async def _serving(home: Path, folder: Path) -> AsyncIterator[str]:
    port = free_port()
    command = (
        *(sys.executable, "-m", "http.server", str(port)),
        *("--bind", LOOPBACK, "--directory", str(folder)),
    )
    ready = Child(
        name="images", command=command, environment={}, ready=lambda: responds_ok(port, "/0")
    )
    async with Supervisor(home / "logs") as supervisor:
        await supervisor.start(ready)
        yield f"http://{LOOPBACK}:{port}"


@asynccontextmanager
async def _transfers() -> AsyncIterator[tuple[ImageTransfers, DecoderPool]]:
    guard = Guard(OutboundSettings(allowed_networks=[f"{LOOPBACK}/32"]))
    decoders = DecoderPool()
    unused = StorageSettings(access_key_id="none", secret_access_key=SecretStr("none"))
    transfers = ImageTransfers(guard, ImageStore(Storage(unused), WorkerSettings()), decoders)
    try:
        transfers.start()
        yield transfers, decoders
    finally:
        transfers.close()
        await guard.aclose()


def _job(url: str, side: int) -> JobRecord:
    request = replace(REQUEST, endpoint=Endpoint.IMG2IMG, width=side, height=side)
    return job_record(request=request, inputs={"init_image": InputImage(url=url)})


async def _figure(
    name: str,
    data: bytes,
    url: str,
    transfers: ImageTransfers,
    decoders: DecoderPool,
    sizes: ImageSizes,
) -> Figure:
    job = _job(url, sizes.side)
    for _ in range(sizes.warm_up):
        await transfers.fetch(job)
    rounds = [
        await _round(job, transfers, decoders, sizes.fetches) for _ in range(sizes.fetch_rounds)
    ]
    worker, decoder = sorted(rounds, key=sum)[sizes.fetch_rounds // 2]
    return Figure(
        name=f"CPU to fetch and decode {name}",
        value=worker + decoder,
        unit="ms",
        target=TARGET,
        at_least=False,
        note=f"{sizes.side} × {sizes.side} pixels in {len(data) / 1000:.0f} kB from loopback, the "
        f"median of {sizes.fetch_rounds} rounds of {sizes.fetches}: worker {worker:.2f}, "
        f"decoder {decoder:.2f}; "
        f"Pillow alone takes {_alone(data, sizes):.2f}",
    )


async def _round(
    job: JobRecord, transfers: ImageTransfers, decoders: DecoderPool, fetches: int
) -> tuple[float, float]:
    here, there = process_time(), cpu_seconds(decoders.pids)
    for _ in range(fetches):
        await transfers.fetch(job)
    worker, decoder = process_time() - here, cpu_seconds(decoders.pids) - there
    return worker / fetches * MILLISECONDS, decoder / fetches * MILLISECONDS


def _alone(data: bytes, sizes: ImageSizes) -> float:
    begun = process_time()
    for _ in range(sizes.warm_up):
        read_image(data, "init_image", (sizes.side, sizes.side))
    return (process_time() - begun) / sizes.warm_up * MILLISECONDS
