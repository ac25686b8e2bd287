"""Gateway, worker and dispatcher as processes at the lowest log level, and a client of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.stack import dispatcher_process, gateway_process, worker_process
from tests.integration.worker.harness.image_host import ImageHost, http_response, open_image_host
from tests.system.installation import small_body

# Longer than the 77 tokens a text encoder takes: libraries log what they cut off.
PROMPT = "prompt-marker " + "a cat sitting on a bench " * 20 + "prompt-tail-marker"
NEGATIVE = "negative-marker " + "blurry " * 90 + "negative-tail-marker"
SECONDS = 60.0


@dataclass(slots=True)
class LoggingStack:
    """Three processes at the lowest log level, a client of them, and all secrets they know."""

    supervisor: Supervisor
    image_host: ImageHost
    client: httpx2.AsyncClient
    logs: Path
    ports: dict[str, int]
    secrets: dict[str, str]
    key: str = ""
    jobs: list[int] = field(default_factory=list)

    async def post_admin(self, path: str, **fields: object) -> Any:
        response = await self.client.post(
            f"/admin/v1/{path}", json=fields, headers=self.bearer(self.secrets["admin key"])
        )
        assert response.is_success, response.text
        return response.json()

    async def submit(self, route: str, **fields: object) -> dict[str, Any]:
        body = small_body(key=self.key, prompt=PROMPT, negative_prompt=NEGATIVE, **fields)
        result: dict[str, Any] = (await self.client.post(f"/api/v3/{route}", json=body)).json()
        assert result["status"] == "processing", result
        self.jobs.append(result["id"])
        return result

    def bearer(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def image_url(self, name: str, image: bytes | None = None) -> str:
        """Return a URL that contains a token; it serves `image`, or 404 without one."""
        page = f"{name}?token=image-token-marker"
        if image is not None:
            self.image_host.pages[f"/{page}"] = http_response(image)
        return self.image_host.url(page)

    def redirecting_url(self, name: str, to: str) -> str:
        """Return a URL that redirects to another."""
        head = f"HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
        self.image_host.pages[f"/{name}"] = head.encode()
        return self.image_host.url(name)

    def webhook_page(self, name: str) -> tuple[str, str]:
        """Return a page that accepts webhooks, and its URL."""
        page = f"{name}?secret=hook-token-marker"
        self.image_host.pages[f"/{page}"] = http_response(b"ok")
        return page, self.image_host.url(page)

    async def read_metrics(self) -> dict[str, str]:
        pages = {}
        for name, port in self.ports.items():
            response = await self.client.get(f"http://{LOOPBACK}:{port}/metrics")
            pages[f"/metrics of {name}"] = response.text
        return pages


@asynccontextmanager
async def open_logging_stack(folder: Path, secrets: dict[str, str]) -> AsyncIterator[LoggingStack]:
    """Start the processes with the settings of the environment, and create a tenant."""
    port = free_port()
    children = (worker_process(), dispatcher_process(), gateway_process(port))
    ports = {
        child.name: int(child.environment.get("INFILL_STATUS_PORT", port)) for child in children
    }
    url = f"http://{LOOPBACK}:{port}"
    async with (
        open_image_host() as image_host,
        Supervisor(folder) as supervisor,
        httpx2.AsyncClient(base_url=url, trust_env=False, timeout=SECONDS) as client,
    ):
        await asyncio.gather(*(supervisor.start(child) for child in children))
        stack = LoggingStack(supervisor, image_host, client, folder, ports, secrets)
        created = await stack.post_admin("tenants", name="marked")
        issued = await stack.post_admin("tenants/marked/keys", name="first")
        rotated = await stack.post_admin("tenants/marked/webhook-secrets")
        stack.key = secrets["API key"] = issued["key"]
        secrets["webhook secret"] = created["webhook_secret"]
        secrets["newer webhook secret"] = rotated["webhook_secret"]
        yield stack
