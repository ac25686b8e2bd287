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
ATTEMPT = 2  # of every row put into a state by hand
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
class Books:
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

    async def record(self, **changes: Any) -> JobRecorded | JobRepeated | IdempotencyKeyTaken:
        async with self.database.statement() as connection:
            return await record_job(connection, self.new_job(**changes))

    async def queued(self, *, columns: Mapping[str, Any] | None = None, **changes: Any) -> int:
        """Record a job, set some of its columns by hand, and give its id."""
        recorded = await self.record(**changes)
        assert isinstance(recorded, JobRecorded)
        if columns:
            await self.set_job(recorded.job_id, **columns)
        return recorded.job_id

    async def claim(self, queue: str = QUEUE) -> JobRecord:
        """Claim the best job, which there must be."""
        async with self.database.statement() as connection:
            claimed = await claim_jobs(
                connection, queues=[queue], worker="w1", lease_seconds=LEASE_SECONDS, limit=1
            )
        (job,) = (job.record for job in claimed.jobs)
        return job

    async def job_in(self, state: JobState, **columns: Any) -> Claim:
        """Make a job whose row is in `state` under attempt 2."""
        running, succeeded = state is JobState.RUNNING, state is JobState.SUCCEEDED
        job_id = await self.queued(
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

    async def delivery_in(self, state: DeliveryState, **columns: Any) -> DeliveryClaim:
        """Make a delivery of a succeeded job whose row is in `state` under attempt 2."""
        job = await self.job_in(JobState.SUCCEEDED)
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

    async def look(
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

    async def waiting(self, url: str = HOOK, *, number: int = 1, **columns: Any) -> list[UUID]:
        """Make deliveries that were never tried."""
        fresh = {"attempt": 0, "url": url, **columns}
        made = [await self.delivery_in(DeliveryState.PENDING, **fresh) for _ in range(number)]
        return [delivery.delivery_id for delivery in made]

    async def line(self, origin: str) -> Row:
        """Give the tenant's line to an origin; times as texts, since infinity is one too."""
        statement = text(
            "SELECT sending, requests, failed, first_due_at::text, retry_due_at::text,"
            " held_until::text, open_until::text, open_until > now() AS is_open"
            " FROM tenant_origins WHERE tenant_id = :tenant_id AND origin = :origin"
        )
        async with self.database.statement() as connection:
            values = {"tenant_id": self.tenant_id, "origin": origin}
            return dict((await connection.execute(statement, values)).mappings().one())

    async def run(self, statement: str) -> None:
        """Change rows by hand."""
        async with self.database.statement() as connection:
            await connection.execute(text(statement))

    async def claim_due(self, limit: int = 10) -> list[DueDelivery]:
        """Claim first attempts, and retries with what is left of the limit."""
        taken = (await self.look(limit=limit)).deliveries
        if left := limit - len(taken):
            taken += (await self.look(retries=True, limit=left)).deliveries
        return taken

    async def told(
        self, *outcomes: DeliveryResult, rules: BreakerRules = RULES
    ) -> set[DeliveryClaim]:
        """Record what came of attempts; give the claims that held."""
        async with self.database.statement() as connection:
            recorded = await record_attempts(
                connection, outcomes, per_origin=PER_ORIGIN, rules=rules
            )
        return set(recorded.held)

    async def set_job(self, job_id: int, **columns: Any) -> None:
        """Change a job by hand; the books of fair claiming follow, as after a sweep."""
        async with self.database.statement() as connection:
            await connection.execute(update(Job).where(Job.id == job_id).values(**columns))
            await recount_running(connection)
            await mark_ready_tenants(connection)

    async def set_delivery(self, delivery_id: UUID, **columns: Any) -> None:
        statement = update(Delivery).where(Delivery.id == delivery_id).values(**columns)
        async with self.database.statement() as connection:
            await connection.execute(statement)

    async def job(self, job_id: int) -> Row:
        return next(row for row in await self.rows(Job) if row["id"] == job_id)

    async def delivery(self, delivery_id: UUID) -> Row:
        return next(row for row in await self.rows(Delivery) if row["id"] == delivery_id)

    async def rows(self, table: type[Table]) -> list[Row]:
        """Give a table whole, in the order of its key."""
        statement = select(table.__table__).order_by(*inspect(table).primary_key)
        async with self.database.statement() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def somebody_waits(self) -> bool:
        """Tell whether a statement is held up by somebody else's lock, which the server knows."""
        query = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with self.database.statement() as connection:
            return bool((await connection.execute(query)).scalar())

    async def everything(self) -> list[list[Row]]:
        """Give all rows a transition could touch, to compare before and after."""
        return [await self.rows(t) for t in (Job, Delivery, DeliveryAttempt, UsageEntry)]
