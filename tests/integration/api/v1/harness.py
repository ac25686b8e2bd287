"""A gateway's tenant with webhooks, and the dispatcher that delivers them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from common.domain.job import Claim
from common.postgres.repositories.jobs.finish import cancel
from tests.integration.api.gateways import Gateway
from tests.integration.dispatcher.harness import DispatcherHarness
from tests.support.requests import INPAINT_BODY

PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class WebhookHarness:
    """One gateway, and requests of its tenant to the webhook API."""

    gateway: Gateway

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Send a request with the tenant's key, or another; return the status and the body."""
        given = {"authorization": f"Bearer {key or self.gateway.key}", **headers}
        content = {"json": body} if body is not None else {}
        response = await self.gateway.client.request(
            method, f"/api/v1/webhooks/{path}", headers=given, **content
        )
        if response.status_code >= 400:
            assert response.headers["content-type"] == PROBLEM
            assert response.json()["status"] == response.status_code
        return response.status_code, response.json()

    async def get(self, path: str) -> Any:
        """GET a path that must exist; return its body."""
        code, body = await self.ask("GET", path)
        assert code == 200, body
        return body

    async def listed(self, query: str = "") -> list[Any]:
        """List deliveries."""
        items: list[Any] = (await self.get(f"deliveries{query}"))["items"]
        return items

    async def shown(self, job_id: int) -> Any:
        """Return the delivery of a job, with its attempts."""
        (listed,) = await self.listed(f"?job_id={job_id}")
        return await self.get(f"deliveries/{listed['id']}")

    async def succeeded(self, url: str, **fields: Any) -> int:
        """Let a job with the webhook `url` succeed, and return its id."""
        submitted = await self.gateway.post("inpaint", {**INPAINT_BODY, "webhook": url, **fields})
        await self.gateway.finish(await self.gateway.claim())
        return int(submitted["id"])

    async def failed(self, url: str, **fields: Any) -> int:
        """Let a job with the webhook `url` fail, and return its id."""
        submitted = await self.gateway.post("inpaint", {**INPAINT_BODY, "webhook": url, **fields})
        job = await self.gateway.claim()
        await self.gateway.fail(Claim(job.id, job.attempt), "HTTP 404")
        return int(submitted["id"])

    async def canceled(self, url: str, **fields: Any) -> int:
        """Cancel a waiting job with the webhook `url`, and return its id."""
        submitted = await self.gateway.post("inpaint", {**INPAINT_BODY, "webhook": url, **fields})
        services = self.gateway.services
        tenant_id = await self.gateway.read_column("tenant_id", submitted["id"])
        async with services.operator_database.statement() as connection:
            ended = await cancel(connection, tenant_id=tenant_id, job_id=submitted["id"])
        assert ended is not None
        await services.announcer.announce_ended(ended)
        return int(submitted["id"])

    @asynccontextmanager
    async def dispatching(self, **changes: Any) -> AsyncIterator[None]:
        """Run a dispatcher while the block lasts; afterwards everything sent is recorded."""
        services = self.gateway.services
        dispatcher = DispatcherHarness(
            services.operator_database, services.redis, services.storage, services.guard
        )
        async with dispatcher.with_settings(**changes).dispatching():
            yield

    async def set(self, assignment: str) -> None:
        """Set columns of all deliveries."""
        await self.gateway.run(f"UPDATE deliveries SET {assignment}")  # noqa: S608 - of a test
