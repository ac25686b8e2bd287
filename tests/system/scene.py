"""Gateway, worker and dispatcher as processes that log all they can, and a client with secrets."""

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
from tests.integration.worker.harness.image_host import ImageHost, answer, open_image_host
from tests.system.installation import body

# Longer than the 77 tokens a text encoder takes: what is cut off is told of by the library.
PROMPT = "prompt-marker " + "a cat sitting on a bench " * 20 + "prompt-tail-marker"
NEGATIVE = "negative-marker " + "blurry " * 90 + "negative-tail-marker"
SECONDS = 60.0


@dataclass(slots=True)
class Scene:
    """Three processes that log all they can, and a client of theirs."""

    supervisor: Supervisor
    image_host: ImageHost
    client: httpx2.AsyncClient
    logs: Path
    ports: dict[str, int]
    secrets: dict[str, str]
    key: str = ""
    jobs: list[int] = field(default_factory=list)

    async def administer(self, path: str, **fields: object) -> Any:
        sent = await self.client.post(
            f"/admin/v1/{path}", json=fields, headers=self.bearer(self.secrets["admin key"])
        )
        assert sent.is_success, sent.text
        return sent.json()

    async def draw(self, route: str, **fields: object) -> dict[str, Any]:
        asked = body(key=self.key, prompt=PROMPT, negative_prompt=NEGATIVE, **fields)
        told: dict[str, Any] = (await self.client.post(f"/api/v3/{route}", json=asked)).json()
        assert told["status"] == "processing", told
        self.jobs.append(told["id"])
        return told

    def bearer(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def picture(self, name: str, shown: bytes | None = None) -> str:
        """Give a URL that holds a token; there is nothing behind it unless something is shown."""
        page = f"{name}?token=picture-token-marker"
        if shown is not None:
            self.image_host.pages[f"/{page}"] = answer(shown)
        return self.image_host.url(page)

    def moved(self, name: str, to: str) -> str:
        """Give a URL that redirects to another."""
        head = f"HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
        self.image_host.pages[f"/{name}"] = head.encode()
        return self.image_host.url(name)

    def hook(self, name: str) -> tuple[str, str]:
        """Give a page that takes webhooks, and its URL."""
        page = f"{name}?secret=hook-token-marker"
        self.image_host.pages[f"/{page}"] = answer(b"ok")
        return page, self.image_host.url(page)

    async def numbers(self) -> dict[str, str]:
        pages = {}
        for name, port in self.ports.items():
            got = await self.client.get(f"http://{LOOPBACK}:{port}/metrics")
            pages[f"/metrics of {name}"] = got.text
        return pages


@asynccontextmanager
async def open_scene(folder: Path, secrets: dict[str, str]) -> AsyncIterator[Scene]:
    """Start the processes with the settings of the environment, and make a tenant."""
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
        scene = Scene(supervisor, image_host, client, folder, ports, secrets)
        made = await scene.administer("tenants", name="marked")
        issued = await scene.administer("tenants/marked/keys", name="first")
        rotated = await scene.administer("tenants/marked/webhook-secrets")
        scene.key = secrets["API key"] = issued["key"]
        secrets["webhook secret"] = made["webhook_secret"]
        secrets["newer webhook secret"] = rotated["webhook_secret"]
        yield scene
