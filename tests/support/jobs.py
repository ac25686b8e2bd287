"""Create jobs in the states that tests need, using the repositories of the product."""

from dataclasses import dataclass
from uuid import uuid4

from common.domain.job import Claim, EndedJob
from common.domain.record import InputImage, JobResult
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.jobs.finish import fail, succeed
from common.postgres.repositories.jobs.record import JobRecorded, record_job
from common.postgres.repositories.tenants.tenants import add_webhook_secret, create_tenant
from common.standard_webhooks.keys import new_secret
from tests.support.generation_request import generation_request, new_job
from tests.support.receiver import SECRETS
from worker.maintenance.lease_grace import LeaseGracePeriod

QUEUE = "test-model"
WORKER = "test-worker"
# Expired leases are requeued at once.
NO_GRACE = LeaseGracePeriod(0, harmless_seconds=0, now=0)

REQUEST = generation_request(
    model=QUEUE, negative_prompt="", width=64, height=64, samples=1, inference_steps=2, seed=7
)


@dataclass(frozen=True, slots=True)
class Owner:
    """A tenant with one webhook secret."""

    id: int
    secret: str


async def create_owner(database: Database) -> Owner:
    """Create a tenant with a webhook secret."""
    secret = new_secret()
    async with database.transaction() as connection:
        tenant_id = await create_tenant(connection, f"tenant-{uuid4().hex}")
        assert tenant_id is not None
        await add_webhook_secret(connection, tenant_id=tenant_id, secret=secret, overlap_seconds=60)
    SECRETS.append(secret)
    return Owner(tenant_id, secret)


async def add_queued_job(
    database: Database,
    owner: Owner,
    *,
    webhook_url: str | None = None,
    track_id: str | float | None = None,
    base64: bool = False,
    max_attempts: int = 3,
) -> int:
    """Record a queued job and return its id."""
    new = new_job(
        owner.id,
        queue=QUEUE,
        request=REQUEST,
        inputs={
            "init_image": InputImage(url="https://example.com/init.png"),
            "mask_image": InputImage(object_key="inputs/mask"),
        },
        base64=base64,
        max_attempts=max_attempts,
        webhook_url=webhook_url,
        track_id=track_id,
    )
    async with database.statement() as connection:
        recorded = await record_job(connection, new)
    assert isinstance(recorded, JobRecorded)
    return recorded.job_id


async def claim_next_job(database: Database, *, lease_seconds: float = 60) -> Claim:
    """Claim the next job and return its claim; there must be a queued job."""
    async with database.statement() as connection:
        taken = await claim_jobs(
            connection, queues=[QUEUE], worker=WORKER, lease_seconds=lease_seconds, limit=1
        )
    (job,) = (job.record for job in taken.jobs)
    return job.claim


async def add_succeeded_job(
    database: Database,
    owner: Owner,
    webhook_url: str | None,
    *,
    object_keys: tuple[str, ...] = ("results/0.png",),
    track_id: str | float | None = None,
    base64: bool = False,
    flagged: bool = False,
) -> EndedJob:
    """Record and claim a job, write its success, and return the ended job."""
    await add_queued_job(database, owner, webhook_url=webhook_url, track_id=track_id, base64=base64)
    claim = await claim_next_job(database)
    result = JobResult(object_keys, tuple(flagged for _ in object_keys), 1.5, {}, 1.5)
    async with database.statement() as connection:
        ended = await succeed(connection, claim, result)
    assert ended is not None
    return ended


async def add_failed_job(
    database: Database,
    owner: Owner,
    webhook_url: str,
    message: str,
    *,
    track_id: str | float | None = None,
) -> EndedJob:
    """Record and claim a job, write its failure, and return the ended job."""
    await add_queued_job(database, owner, webhook_url=webhook_url, track_id=track_id)
    claim = await claim_next_job(database)
    async with database.statement() as connection:
        ended = await fail(connection, claim, code="invalid_image", message=message)
    assert ended is not None
    return ended
