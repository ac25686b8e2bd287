"""Runs a worker's parts inside the test and reads the rows they wrote."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from redis.asyncio import Redis

from common.domain.generation import Endpoint
from common.domain.record import InputImage
from common.messaging.announcer import Announcer
from common.messaging.doorbell import Doorbell
from common.object_store.storage import Storage
from common.outbound import Guard
from common.postgres.database import Database
from common.postgres.models import Delivery, Job, UsageEntry
from common.settings import JobSettings, RedisSettings, WebhookSettings, WorkerSettings
from tests.integration.dispatcher.conftest import LOOPBACK_OPEN
from tests.integration.repositories.support.tenant_rows import LONG_AGO, Row, TenantRows
from tests.integration.worker.harness.engine import ControlledEngine
from tests.integration.worker.harness.engine_control import EngineControl
from tests.integration.worker.harness.image_host import ImageHost
from tests.support.generation_request import generation_request
from tests.support.jobs import NO_GRACE
from worker.engine.image_sandbox.decoder import PROGRAM
from worker.engine.image_sandbox.pool import DecoderPool
from worker.engine.interface import Engine
from worker.engine_pool import EnginePool
from worker.heartbeat import Heartbeat
from worker.image_store.store import ImageStore
from worker.image_transfers import ImageTransfers
from worker.maintenance.sweeper import Sweeper
from worker.progress import ProgressReporter
from worker.runner import Runner

QUEUES = ("one", "two")
PROMPT = "a cat that no log may contain"
HOOK = "https://caller.test/hook?token=hush"
SETTINGS = JobSettings(retry_seconds=100)
WORKER_SETTINGS = WorkerSettings()


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one worker."""

    runner: Runner
    heartbeat: Heartbeat
    transfers: ImageTransfers
    decoders: DecoderPool
    progress_reporter: ProgressReporter


@dataclass(frozen=True, slots=True)
class WorkerHarness:
    """The dependencies and settings of test workers, and the rows of one tenant."""

    database: Database
    redis: Redis
    storage: Storage
    tenant: TenantRows
    image_host: ImageHost
    engine_control: EngineControl
    jobs: JobSettings = SETTINGS
    worker_settings: WorkerSettings = WORKER_SETTINGS
    image_timeout_seconds: float = 20.0
    decoder: str = PROGRAM

    def replace(self, **changes: Any) -> "WorkerHarness":
        return replace(self, **changes)

    @asynccontextmanager
    async def worker(self, name: str = "w1", engine: Engine | None = None) -> AsyncIterator[Parts]:
        """Create a worker whose heartbeat runs only when the test calls it."""
        rules = LOOPBACK_OPEN.model_copy(
            update={"image_timeout_seconds": self.image_timeout_seconds}
        )
        guard = Guard(rules)
        progress_reporter = ProgressReporter(self.redis)
        engine_pool = EnginePool(
            engine or ControlledEngine(self.engine_control.folder),
            progress_reporter,
            threads=self.worker_settings.concurrency,
            stuck_seconds=self.worker_settings.stuck_seconds,
        )
        decoders = DecoderPool(program=self.decoder)
        transfers = ImageTransfers(guard, ImageStore(self.storage, self.worker_settings), decoders)
        heartbeat = Heartbeat(self.database, self.jobs, worker=name, queues=QUEUES)
        announcer = Announcer(self.redis, Doorbell(self.redis, RedisSettings()))
        runner = Runner(
            self.database,
            transfers,
            engine_pool,
            announcer,
            heartbeat,
            self.jobs,
            self.worker_settings,
        )
        try:
            yield Parts(runner, heartbeat, transfers, decoders, progress_reporter)
        finally:
            engine_pool.close()
            transfers.close()
            await guard.aclose()

    def input_images(self, init: str = "init.png", mask: str = "mask.png") -> dict[str, InputImage]:
        """Return two images of the host as inputs."""
        return {
            "init_image": InputImage(url=self.image_host.url(init)),
            "mask_image": InputImage(url=self.image_host.url(mask)),
        }

    async def queue_inpaint(self, **changes: Any) -> int:
        """Record a small inpaint job; `asked` changes fields of its request."""
        small = {"width": 64, "height": 64, "prompt": PROMPT, "model": QUEUES[0]}
        request = generation_request(**small | changes.pop("asked", {}))
        fields = {"inputs": self.input_images(), "queue": request.model, "webhook_url": HOOK}
        return await self.tenant.queue_job(**fields | {"request": request} | changes)

    async def queue_text2img(self, **asked: Any) -> int:
        """Record a job without input images."""
        return await self.queue_inpaint(inputs={}, asked={"endpoint": Endpoint.TEXT2IMG, **asked})

    async def jobs_in_state(self, state: str) -> list[Row]:
        """Return the jobs in a state."""
        return [row for row in await self.tenant.read_rows(Job) if row["state"] == state]

    async def sweep(self) -> None:
        """Run one sweep without a grace period for leases."""
        doorbell = Doorbell(self.redis, RedisSettings())
        sweeper = Sweeper(
            self.database,
            doorbell,
            Announcer(self.redis, doorbell),
            self.jobs,
            WebhookSettings(),
            queues=QUEUES,
            grace=NO_GRACE,
        )
        async with self.database.statement() as connection:
            await sweeper.sweep(connection)

    async def age_lease(self, job_id: int) -> None:
        """Expire the lease, so that its worker looks dead."""
        await self.tenant.set_job(job_id, lease_expires_at=LONG_AGO)

    async def count_records(self, job_id: int) -> tuple[int, int]:
        """Count the job's deliveries and its usage entries."""
        deliveries, usage = (
            await self.tenant.read_rows(Delivery),
            await self.tenant.read_rows(UsageEntry),
        )
        return (
            sum(row["job_id"] == job_id for row in deliveries),
            sum(row["job_id"] == job_id for row in usage),
        )
