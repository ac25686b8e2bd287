"""Jobs and deliveries of one tenant, brought into the state a test needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, inspect, select, text, update

from common.domain.delivery import DeliveryClaim, DeliveryState
from common.domain.generation import Endpoint, GenerationRequest
from common.domain.job import Claim, JobState
from common.domain.record import InputImage, JobRecord, JobResult, NewJob
from common.postgres.database import Database
from common.postgres.models import Delivery, DeliveryAttempt, Job, Table, UsageEntry
from common.postgres.repositories.deliveries.claim import (
    ClaimedDeliveries,
    DueDelivery,
    claim_deliveries,
)
from common.postgres.repositories.deliveries.record import (
    AttemptLog,
    BreakerRules,
    DeliveryResult,
    record_attempts,
)
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.fair_queue.recount import mark_ready_tenants, recount_running
from common.postgres.repositories.jobs.record import (
    IdempotencyKeyTaken,
    JobRecorded,
    JobRepeated,
    record_job,
)
from common.settings import WebhookSettings

QUEUE = "sd15-inpainting"
HOOK = "https://caller.test/hook"
LEASE_SECONDS = 60.0
PER_ORIGIN = 50
RULES = BreakerRules.from_settings(WebhookSettings())
LONG_AGO = datetime(2020, 2, 2, tzinfo=UTC)
FAR_AHEAD = datetime(2100, 2, 2, tzinfo=UTC)
ATTEMPT = 2  # of every row that is put into a state directly
RESULT = JobResult(("a.png", "b.png"), (False, True), 1.91, {"claimed": 1.5}, 1.91)
LOG = AttemptLog(
    started_at=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
    duration=timedelta(milliseconds=12.6),
    status_code=503,
    error=None,
    answer="busy",
)
REQUEST = GenerationRequest(
    endpoint=Endpoint.INPAINT,
    model="sd15-inpainting",
    prompt="a cat on a bench",
    negative_prompt="",
    width=1000,
    height=500,
    samples=2,
    inference_steps=10,
    guidance_scale=7.5,
    strength=0.7,
    seed=1,
)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TenantRows:
    """One tenant's rows."""

    database: Database
    tenant_id: int

    def new_job(self, **changes: Any) -> NewJob:
        fields: dict[str, Any] = {
            "tenant_id": self.tenant_id,
            "file_prefix": uuid4(),
            "queue": QUEUE,
            "request": REQUEST,
            "inputs": {"init_image": InputImage(url="https://p.test/a.png")},
            "base64": False,
            "max_attempts": 3,
            "webhook_url": HOOK,
            "track_id": "order-9",
        }
        return NewJob(**{**fields, **changes})

    async def record_job(self, **changes: Any) -> JobRecorded | JobRepeated | IdempotencyKeyTaken:
        async with self.database.statement() as connection:
            return await record_job(connection, self.new_job(**changes))

    async def queue_job(self, *, columns: Mapping[str, Any] | None = None, **changes: Any) -> int:
        """Record a job, set some of its columns directly, and return its id."""
        recorded = await self.record_job(**changes)
        assert isinstance(recorded, JobRecorded)
        if columns:
            await self.set_job(recorded.job_id, **columns)
        return recorded.job_id

    async def claim_job(self, queue: str = QUEUE) -> JobRecord:
        """Claim the next job, which must exist."""
        async with self.database.statement() as connection:
            claimed = await claim_jobs(
                connection, queues=[queue], worker="w1", lease_seconds=LEASE_SECONDS, limit=1
            )
        (job,) = (job.record for job in claimed.jobs)
        return job

    async def add_job(self, state: JobState, **columns: Any) -> Claim:
        """Add a job in `state` with attempt 2; return its claim."""
        running, succeeded = state is JobState.RUNNING, state is JobState.SUCCEEDED
        job_id = await self.queue_job(
            columns={
                "state": state,
                "attempt": ATTEMPT,
                "lease_expires_at": FAR_AHEAD if running else None,
                "claimed_by": "w1" if running else None,
                "result": RESULT.to_json() if succeeded else None,
                **columns,
            }
        )
        return Claim(job_id, ATTEMPT)

    async def add_delivery(self, state: DeliveryState, **columns: Any) -> DeliveryClaim:
        """Add a succeeded job's delivery in `state` with attempt 2; return its claim."""
        job = await self.add_job(JobState.SUCCEEDED)
        values: dict[str, Any] = {
            "job_id": job.job_id,
            "tenant_id": self.tenant_id,
            "event": "job.succeeded",
            "url": HOOK,
            "state": state,
            "attempt": ATTEMPT,
            "lease_expires_at": FAR_AHEAD if state is DeliveryState.SENDING else None,
        }
        statement = insert(Delivery).values(**{**values, **columns}).returning(Delivery.id)
        async with self.database.statement() as connection:
            delivery_id = (await connection.execute(statement)).scalar_one()
        return DeliveryClaim(delivery_id, ATTEMPT)

    async def claim_deliveries(
        self,
        *,
        retries: bool = False,
        limit: int = 10,
        per_origin: int = PER_ORIGIN,
        skip_tenants: Sequence[int] = (),
    ) -> ClaimedDeliveries:
        """Claim deliveries as a dispatcher does."""
        async with self.database.statement() as connection:
            return await claim_deliveries(
                connection,
                dispatcher="d1",
                limit=limit,
                lease_seconds=LEASE_SECONDS,
                per_origin=per_origin,
                retries=retries,
                skip_tenants=skip_tenants,
            )

    async def add_pending(self, url: str = HOOK, *, number: int = 1, **columns: Any) -> list[UUID]:
        """Add pending deliveries without an attempt; return their ids."""
        fresh = {"attempt": 0, "url": url, **columns}
        made = [await self.add_delivery(DeliveryState.PENDING, **fresh) for _ in range(number)]
        return [delivery.delivery_id for delivery in made]

    async def read_origin(self, origin: str) -> Row:
        """Return the tenant's row of an origin; times as texts, because they may be infinity."""
        statement = text(
            "SELECT sending, requests, failed, first_due_at::text, retry_due_at::text,"
            " held_until::text, open_until::text, open_until > now() AS is_open"
            " FROM tenant_origins WHERE tenant_id = :tenant_id AND origin = :origin"
        )
        async with self.database.statement() as connection:
            values = {"tenant_id": self.tenant_id, "origin": origin}
            return dict((await connection.execute(statement, values)).mappings().one())

    async def execute(self, statement: str) -> None:
        """Execute an SQL statement."""
        async with self.database.statement() as connection:
            await connection.execute(text(statement))

    async def claim_due_deliveries(self, limit: int = 10) -> list[DueDelivery]:
        """Claim first attempts, then retries up to the limit."""
        taken = (await self.claim_deliveries(limit=limit)).deliveries
        if left := limit - len(taken):
            taken += (await self.claim_deliveries(retries=True, limit=left)).deliveries
        return taken

    async def record_attempts(
        self, *outcomes: DeliveryResult, rules: BreakerRules = RULES
    ) -> set[DeliveryClaim]:
        """Record attempts; return the claims that were still held."""
        async with self.database.statement() as connection:
            recorded = await record_attempts(
                connection, outcomes, per_origin=PER_ORIGIN, rules=rules
            )
        return set(recorded.held)

    async def set_job(self, job_id: int, **columns: Any) -> None:
        """Change a job directly, then recount the counters, as a sweep does."""
        async with self.database.statement() as connection:
            await connection.execute(update(Job).where(Job.id == job_id).values(**columns))
            await recount_running(connection)
            await mark_ready_tenants(connection)

    async def set_delivery(self, delivery_id: UUID, **columns: Any) -> None:
        statement = update(Delivery).where(Delivery.id == delivery_id).values(**columns)
        async with self.database.statement() as connection:
            await connection.execute(statement)

    async def read_job(self, job_id: int) -> Row:
        return next(row for row in await self.read_rows(Job) if row["id"] == job_id)

    async def read_delivery(self, delivery_id: UUID) -> Row:
        return next(row for row in await self.read_rows(Delivery) if row["id"] == delivery_id)

    async def read_rows(self, table: type[Table]) -> list[Row]:
        """Return all rows of a table, in the order of its key."""
        statement = select(table.__table__).order_by(*inspect(table).primary_key)
        async with self.database.statement() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def is_blocked(self) -> bool:
        """Return whether some statement waits for a lock."""
        query = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with self.database.statement() as connection:
            return bool((await connection.execute(query)).scalar())

    async def read_everything(self) -> list[list[Row]]:
        """Return all rows that a transition could change, to compare before and after."""
        return [await self.read_rows(t) for t in (Job, Delivery, DeliveryAttempt, UsageEntry)]
