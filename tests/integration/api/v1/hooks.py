"""A tenant at its webhooks, and what dispatchers do to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from common.domain.job import Claim
from common.messaging.announcer import Announcer
from common.messaging.doorbell import Doorbell
from common.postgres.repositories.jobs.finish import cancel
from tests.integration.api.gateways import BODY, Gateway
from tests.integration.dispatcher.harness import DispatcherHarness

PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Hooks:
    """One gateway, and what its tenant asks of it."""

    gateway: Gateway

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Ask with the tenant's key, or another one; give the status and the body."""
        given = {"authorization": f"Bearer {key or self.gateway.key}", **headers}
        content = {"json": body} if body is not None else {}
        answer = await self.gateway.client.request(
            method, f"/api/v1/webhooks/{path}", headers=given, **content
        )
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == PROBLEM
            assert answer.json()["status"] == answer.status_code
        return answer.status_code, answer.json()

    async def get(self, path: str) -> Any:
        """Read what has to be there."""
        code, body = await self.ask("GET", path)
        assert code == 200, body
        return body

    async def listed(self, query: str = "") -> list[Any]:
        """List deliveries."""
        items: list[Any] = (await self.get(f"deliveries{query}"))["items"]
        return items

    async def shown(self, job_id: int) -> Any:
        """Show the delivery of a job, with its attempts."""
        (listed,) = await self.listed(f"?job_id={job_id}")
        return await self.get(f"deliveries/{listed['id']}")

    async def succeeded(self, url: str, **fields: Any) -> int:
        """Let a job be drawn that tells `url` of it, and give its id."""
        asked = await self.gateway.post("inpaint", {**BODY, "webhook": url, **fields})
        await self.gateway.draw(await self.gateway.claim())
        return int(asked["id"])

    async def failed(self, url: str, **fields: Any) -> int:
        """Let a job fail that tells `url` of it, and give its id."""
        asked = await self.gateway.post("inpaint", {**BODY, "webhook": url, **fields})
        job = await self.gateway.claim()
        await self.gateway.give_up(Claim(job.id, job.attempt), "HTTP 404")
        return int(asked["id"])

    async def canceled(self, url: str, **fields: Any) -> int:
        """Let a waiting job that tells `url` of it be canceled, and give its id."""
        asked = await self.gateway.post("inpaint", {**BODY, "webhook": url, **fields})
        services = self.gateway.services
        tenant_id = await self.gateway.read_column("tenant_id", asked["id"])
        async with services.operators.statement() as connection:
            ended = await cancel(connection, tenant_id=tenant_id, job_id=asked["id"])
        assert ended is not None
        doorbell = Doorbell(services.redis, services.settings.redis)
        await Announcer(services.redis, doorbell).announce_ended(ended)
        return int(asked["id"])

    @asynccontextmanager
    async def dispatching(self, **changes: Any) -> AsyncIterator[None]:
        """Run a dispatcher while the block lasts; afterwards everything sent is recorded."""
        services = self.gateway.services
        harness = DispatcherHarness(
            services.operators, services.redis, services.storage, services.guard
        )
        async with harness.with_settings(**changes).dispatching():
            yield

    async def set(self, assignment: str) -> None:
        """Change all deliveries by hand."""
        await self.gateway.run(f"UPDATE deliveries SET {assignment}")  # noqa: S608 - of a test
