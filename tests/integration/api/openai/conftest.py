"""A gateway on a socket and a worker process with an engine that paints red."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from ipaddress import IPv4Network
from typing import Any

import pytest
from httpx2 import AsyncClient
from openai import AsyncOpenAI
from PIL import Image

from common.settings import JobSettings, OutboundSettings
from deploy.local.processes.child import Child
from deploy.local.processes.supervisor import Supervisor
from deploy.local.stack import worker_process
from tests.conftest import Servers, fresh_bucket, fresh_database
from tests.integration.api.gateways import Gateway, make_settings, open_gateway
from tests.integration.api.test_server import served
from tests.integration.dispatcher.program import environment

SIZE = (64, 64)
HOLE = (0, 0, 32, 32)


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway and its address."""

    gateway: Gateway
    port: int
    clients: AsyncExitStack

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, path: str = "/v1", **options: Any) -> AsyncOpenAI:
        """Return an unmodified client; it does not repeat failed requests unless told to."""
        given = {"api_key": self.gateway.key, "max_retries": 0, "timeout": 60.0}
        client = AsyncOpenAI(base_url=f"{self.url}{path}", **{**given, **options})
        self.clients.push_async_callback(client.close)
        return client

    async def post(self, path: str, **content: Any) -> Any:
        """POST to a path under /v1 with the tenant's key, and return the response."""
        headers = {"authorization": f"Bearer {self.gateway.key}", **content.pop("headers", {})}
        async with AsyncClient(trust_env=False, timeout=60) as client:
            return await client.post(f"{self.url}/v1/{path}", headers=headers, **content)

    async def last_job(self) -> dict[str, Any]:
        """Return the row of the newest job."""
        async with self.gateway.services.operator_database.statement() as connection:
            found = await connection.exec_driver_sql("SELECT * FROM jobs ORDER BY id DESC LIMIT 1")
            return dict(found.mappings().one())

    async def wait_for_state(self, *states: str) -> dict[str, Any]:
        """Return the newest job once it is in one of these states."""
        async with asyncio.timeout(60):
            while (job := await self.last_job())["state"] not in states:
                pass  # the query waits
        return job


@pytest.fixture(scope="package")
async def site(
    servers: Servers, template_database: str, s3_client: Any, tmp_path_factory: Any
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("openai")
    bucket = await fresh_bucket(servers, s3_client)
    async with fresh_database(servers, template_database) as url:
        settings = make_settings(
            url, servers.redis.url(), bucket, openai_wait_seconds=60, max_body_bytes=1_000_000
        )
        settings.jobs = JobSettings(max_attempts=1)
        settings.outbound = OutboundSettings(
            image_max_bytes=200_000,
            allowed_networks=(IPv4Network("127.0.0.1/32"),),
            allowed_ports=frozenset({0}),
        )
        async with (
            Supervisor(folder / "logs") as supervisor,
            open_gateway(settings) as gateway,
            served(gateway) as port,
            AsyncExitStack() as clients,
        ):
            await supervisor.start(_worker(environment(url, servers.redis.url(), bucket)))
            yield Site(gateway, port, clients)


def _worker(stores: dict[str, str]) -> Child:
    child = worker_process()
    engine = {
        "INFILL_WORKER_ENGINE": "tests.integration.api.openai.engine:create_engine",
        "INFILL_MODELS_SERVE": '["standin-inpainting", "standin"]',
    }
    return replace(child, environment={**child.environment, **stores, **engine})


def png(colour: str = "blue", *, hole: bool = False, size: tuple[int, int] = SIZE) -> bytes:
    """Return a PNG of one colour; with a hole, its upper left quarter is transparent."""
    image = Image.new("RGBA" if hole else "RGB", size, colour)
    if hole:
        image.paste((0, 0, 0, 0), HOLE)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
