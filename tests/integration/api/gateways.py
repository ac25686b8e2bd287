"""Gateways for tests: the real application over real servers, and what workers do to its jobs."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from pydantic import SecretStr

from api.app import create_app
from api.services import Services
from common.domain.job import Claim, EndedJob
from common.domain.object_keys import result_key
from common.domain.record import JobRecord, JobResult
from common.messaging.completion import announce_ended
from common.operations.api_keys import issue_key
from common.operations.tenants import create_tenant
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.jobs.finish import fail as fail_job
from common.postgres.repositories.jobs.finish import succeed
from common.settings import (
    DatabaseSettings,
    GatewaySettings,
    ModelSettings,
    OutboundSettings,
    RedisSettings,
    Settings,
    StorageSettings,
    WebhookSettings,
)
from tests.support.caches import age_cache
from tests.support.operators import OPERATOR, PEPPER
from tests.support.receiver import SECRETS

QUEUE = "standin-inpainting"
PUBLIC = "https://infill.example.com"
IMAGE = b"\x89PNG generated"


def make_settings(
    database_url: str, redis_url: str, bucket: StorageSettings, **gateway: Any
) -> Settings:
    """Return settings of a gateway; `gateway` changes its own section."""
    settings = Settings()
    settings.database = DatabaseSettings(
        url=SecretStr(database_url), pool_size=4, connect_timeout_seconds=60.0
    )
    settings.redis = RedisSettings(url=SecretStr(redis_url), timeout_seconds=0.5)
    settings.storage = bucket
    settings.outbound = OutboundSettings(image_max_bytes=1000)
    settings.webhooks = WebhookSettings()
    settings.models = ModelSettings(serve=("standin-inpainting", "standin"))
    given: dict[str, Any] = {"sync_wait_seconds": 0.0, "openai_wait_seconds": 0.0}
    given |= {"max_body_bytes": 10_000, "public_url": PUBLIC + "/"}
    settings.gateway = GatewaySettings(**{**given, "api_key_pepper": PEPPER, **gateway})
    return settings


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway, a client of it, and a tenant's key."""

    app: FastAPI
    services: Services
    client: AsyncClient
    key: str

    async def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> Any:
        """POST JSON to a v3 route with the tenant's key and return the body of the response."""
        response = await self.client.post(
            f"/api/v3/{path}", json={"key": self.key, **(fields or {})}, headers=headers
        )
        assert response.status_code == 200
        return response.json()

    async def claim(self, queue: str = QUEUE) -> JobRecord:
        """Claim a job as a worker does."""
        async with self.services.operator_database.transaction() as connection:
            taken = await claim_jobs(
                connection, queues=[queue], worker="w", lease_seconds=60, limit=1
            )
        (job,) = (job.record for job in taken.jobs)
        return job

    async def finish(
        self,
        job: JobRecord,
        *,
        seconds: float = 1.5,
        flagged: int = 0,
        timeline: dict[str, float] | None = None,
    ) -> None:
        """Finish a job as its worker does; the first `flagged` images are unsafe."""
        keys = tuple(
            result_key(job.tenant_id, job.file_prefix, job.attempt, index)
            for index in range(job.request.samples)
        )
        for key in keys:
            await self.services.storage.put(key, IMAGE)
        nsfw = tuple(index < flagged for index in range(len(keys)))
        result = JobResult(keys, nsfw, seconds, timeline or {"claimed": 1.0}, seconds)
        async with self.services.operator_database.transaction() as connection:
            ended = await succeed(connection, job.claim, result)
        await self._announce(ended)

    async def fail(self, claim: Claim, message: str) -> None:
        """Fail a job as its worker does."""
        async with self.services.operator_database.transaction() as connection:
            ended = await fail_job(connection, claim, code="fetch_rejected", message=message)
        await self._announce(ended)

    async def _announce(self, ended: EndedJob | None) -> None:
        assert ended is not None
        await announce_ended(self.services.redis, ended.file_prefix)

    async def count_jobs(self) -> int:
        """Count all jobs."""
        async with self.services.operator_database.statement() as connection:
            result = await connection.exec_driver_sql("SELECT count(*) FROM jobs")
            return int(result.scalar_one())

    async def run(self, sql: str, *values: object) -> None:
        """Execute a statement."""
        async with self.services.operator_database.statement() as connection:
            await connection.exec_driver_sql(sql, values)

    async def set_limits(self, **limits: object) -> None:
        """Set the tenant's limits; the gateway reads them at the next look-up."""
        text = json.dumps(limits)
        await self.run("UPDATE tenants SET limits = CAST($1::text AS jsonb)", text)
        self.age_keys()

    def age_keys(self) -> None:
        """Let all cached keys expire."""
        age_cache(self.services.api_keys._tenants, 1e6)

    async def read_column(self, column: str, job_id: int) -> Any:
        """Read one column of a job's row."""
        async with self.services.operator_database.statement() as connection:
            result = await connection.exec_driver_sql(
                f"SELECT {column} FROM jobs WHERE id = $1",  # noqa: S608 - a name from a test
                (job_id,),
            )
            return result.scalar_one()


async def new_key(services: Services, tenant: str) -> str:
    """Create a tenant and return its API key."""
    made = await create_tenant(services.operator_database, OPERATOR, tenant)
    SECRETS.append(made.webhook_secret)
    issued = await issue_key(services.operator_database, OPERATOR, tenant, "first", pepper=PEPPER)
    return issued.key


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Start a gateway with one tenant, without a socket."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        services: Services = app.state.services
        transport = ASGITransport(app=app)
        async with AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield Gateway(app, services, client, await new_key(services, "alice"))


def prefix_of(response: Any) -> UUID:
    """Return the file prefix in a response."""
    return UUID(response["meta"]["file_prefix"])
