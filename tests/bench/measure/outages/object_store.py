"""What an outage of the object store costs under load, with and without a restart of the worker."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx2
from sqlalchemy import select

from common.postgres.models import Job
from common.runtime.clock import monotonic
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.servers.s3 import S3Server
from tests.bench.figures import Figure
from tests.bench.rig.counting_engine import GENERATIONS
from tests.bench.rig.stack import Rig
from tests.bench.rig.watched_worker import Peaks, WatchedWorker
from tests.bench.sizes import OutageSizes, Sizes

MEGABYTE: Final = 1e6
POLL_SECONDS: Final = 0.1
DEADLINE_SECONDS: Final = 600.0
MAX_ATTEMPTS: Final = 3
SLOTS: Final = 8
FINAL: Final = {"succeeded", "failed", "canceled"}

Jobs = Sequence[Any]  # rows with state, attempt and max_attempts


@dataclass(slots=True)
class Load:
    """The jobs of one outage: sent at an even rate, and in a burst."""

    rig: Rig
    url: str
    sizes: OutageSizes
    sent: list[int] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep_sending(self) -> None:
        """Send jobs at an even rate until `enough` is set."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            while not self.enough.is_set():
                await self._send(client)
                await asyncio.sleep(1 / self.sizes.per_second)

    async def fill_slots(self) -> None:
        """Send twice as many jobs as the worker has slots, and wait until all slots are used."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            for _ in range(2 * SLOTS):
                await self._send(client)
        await self.wait_until(lambda jobs: _count(jobs, "running") >= SLOTS)

    async def wait_until(self, condition: Callable[[Jobs], bool]) -> Jobs:
        """Read the jobs until they meet the condition, and return them."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition(jobs := await self.read()):  # noqa: ASYNC110 - another process
                await asyncio.sleep(POLL_SECONDS)
        return jobs

    async def read(self) -> Jobs:
        """Return the state and attempts of all jobs sent."""
        query = select(Job.state, Job.attempt, Job.max_attempts).where(Job.id.in_(self.sent))
        async with self.rig.database.statement() as connection:
            return (await connection.execute(query)).all()

    async def _send(self, client: httpx2.AsyncClient) -> None:
        side = self.sizes.side
        prompt = f"{next(self.numbers)} {self.sizes.generation_seconds}"
        request = self.rig.request(
            prompt=prompt,
            enhance_prompt="no",
            samples=self.sizes.samples,
            width=side,
            height=side,
        )
        response = (await client.post(self.url, json=request)).json()
        assert response["status"] == "processing", response
        self.sent.append(response["id"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the jobs of one outage, and what the worker needed for it."""

    jobs: Jobs
    generations: Counter[str]
    before: Peaks
    during: Peaks
    resumed_seconds: float


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Take the object store away for a while, twice: the second time the worker is restarted."""
    url = f"http://{LOOPBACK}:{await rig.start_gateway()}/api/v3/inpaint"
    figures = []
    for restart in (False, True):
        load = Load(rig, url, sizes.outage)
        outcome = await _outage(load, restart=restart)
        figures += _figures(sizes.outage, outcome, restart=restart)
    return figures


async def _outage(load: Load, *, restart: bool) -> Outcome:
    async with (
        _store() as (store, servers),
        _worker(store, load.sizes) as (worker, generations),
    ):
        watching = asyncio.create_task(worker.watch())
        sending = asyncio.create_task(load.keep_sending())
        await load.wait_until(lambda jobs: _count(jobs, "succeeded") >= load.sizes.warm_up)
        await load.fill_slots()
        before, worker.peaks = worker.peaks, Peaks()
        await servers.stop_all()
        await asyncio.sleep(load.sizes.seconds / 2)
        if restart:
            await worker.stop()
            await worker.start()
        await asyncio.sleep(load.sizes.seconds / 2)
        succeeded = _count(await load.read(), "succeeded")
        await servers.start(store.child())
        back = monotonic()
        await load.wait_until(lambda jobs: _count(jobs, "succeeded") > succeeded)
        resumed = monotonic() - back
        load.enough.set()
        await sending
        jobs = await load.wait_until(lambda jobs: all(job.state in FINAL for job in jobs))
        watching.cancel()
        counted = Counter(generations.read_text().splitlines())
        return Outcome(jobs, counted, before, worker.peaks, resumed)


@asynccontextmanager
async def _store() -> AsyncIterator[tuple[S3Server, Supervisor]]:
    """Start an object store of its own, which can be stopped."""
    with tempfile.TemporaryDirectory(prefix="infill-bench-") as folder:
        store = S3Server(Path(folder), free_port(), "bench-key", "bench-secret")
        async with Supervisor(Path(folder) / "logs") as servers:
            await store.prepare()
            await servers.start(store.child())
            yield store, servers


@asynccontextmanager
async def _worker(store: S3Server, sizes: OutageSizes) -> AsyncIterator[tuple[WatchedWorker, Path]]:
    """Start a worker with its own object store; yield it and the file of its generations."""
    with tempfile.TemporaryDirectory(prefix="infill-bench-") as folder:
        environment = {
            "INFILL_S3_ENDPOINT_URL": store.endpoint_url,
            "INFILL_S3_BUCKET": store.bucket,
            "INFILL_S3_ACCESS_KEY_ID": store.access_key_id,
            "INFILL_S3_SECRET_ACCESS_KEY": store.secret_access_key,
            "INFILL_MODELS_DIRECTORY": folder,
            "INFILL_WORKER_CONCURRENCY": str(SLOTS),
            "INFILL_WORKER_ENGINE": "tests.bench.rig.counting_engine:create_engine",
            "INFILL_WORKER_WAITING_IMAGE_BYTES": str(sizes.memory_bytes),
            "INFILL_WORKER_SHUTDOWN_SECONDS": str(sizes.shutdown_seconds),
        }
        worker = WatchedWorker(Path(folder) / "logs", environment)
        await worker.start()
        try:
            yield worker, Path(folder) / GENERATIONS
        finally:
            await worker.stop()


def _figures(sizes: OutageSizes, outcome: Outcome, *, restart: bool) -> list[Figure]:
    name = f"outage of {sizes.seconds:g} s{', worker restarted' if restart else ''}"
    jobs, during, before = outcome.jobs, outcome.during, outcome.before
    repeated = sum(outcome.generations.values()) - len(outcome.generations)
    released = sum(job.max_attempts - MAX_ATTEMPTS for job in jobs)
    lost = sum(job.attempt - 1 for job in jobs) - released
    failed = len(jobs) - _count(jobs, "succeeded")
    spilled = during.waiting["file"] / MEGABYTE
    note = f"{len(jobs)} jobs, {failed} failed, {released} released without costing an attempt"
    waited = f"waiting at most {during.waiting['memory'] / MEGABYTE:.1f} MB in memory"
    more = max(0, during.resident - before.resident) / MEGABYTE
    # A restarted worker releases what it held: each of these jobs is generated once more.
    allowed = SLOTS if restart else 0
    return [
        Figure(f"{name}: jobs not succeeded", failed, "", 0, at_least=False, note=note),
        Figure(f"{name}: attempts lost", lost, "", 0, at_least=False),
        Figure(f"{name}: generated once more", repeated, "", allowed, at_least=False),
        Figure(f"{name}: more memory", more, "MB", sizes.more_megabytes, at_least=False),
        Figure(
            f"{name}: images in files",
            spilled,
            "MB",
            sizes.file_megabytes,
            at_least=False,
            note=f"{waited}, resident at most {during.resident / MEGABYTE:.0f} MB",
        ),
        Figure(f"{name}: until a job ends", outcome.resumed_seconds, "s", 20, at_least=False),
    ]


def _count(jobs: Jobs, state: str) -> int:
    return sum(job.state == state for job in jobs)
