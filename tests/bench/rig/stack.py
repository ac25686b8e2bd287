"""The servers and processes the benchmarks measure, each started when a phase needs it."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx2
from redis.asyncio import Redis
from sqlalchemy import make_url

from common.operations.api_keys import issue_key
from common.operations.tenants import create_tenant, set_tenant_limits
from common.postgres.database import Database
from common.settings import Settings
from common.settings.section import export_environment
from deploy.cli.migrate import upgrade
from deploy.cli.operators.run import current_operator
from deploy.local.local_secrets import load_or_create_secrets
from deploy.local.processes.child import Child
from deploy.local.processes.readiness import responds_ok
from deploy.local.processes.supervisor import Supervisor
from deploy.local.sample_server import SampleServer, sample_server
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.servers.stores import prepare_stores, start_stores
from deploy.local.stack import default_settings, gateway_process

SMALL_SIDE: Final = 64  # pixels
IMAGES: Final = Path(__file__).parent
# Stand-ins: what is measured here does not depend on what is generated.
MODELS: Final = ("standin-inpainting", "standin")
QUEUE: Final = MODELS[0]
TEMPLATE: Final = "bench_template"
# One limit of every kind, each wider than any load here: their cost is part of what is measured.
LIMITS: Final[dict[str, Any]] = {
    "requests_per_minute": 10_000_000,
    "max_queued": 100_000,
    "max_running": 10_000,
    "max_running_per_queue": 10_000,
    "max_pixels": 1024 * 1024,
    "max_inference_steps": 51,
    "models": MODELS,
    "monthly_credits": 1e9,
}
SETTINGS: Final = {
    "INFILL_MODELS_SERVE": json.dumps(MODELS),
    "INFILL_SYNC_WAIT_SECONDS": "0",
    "INFILL_OPENAI_WAIT_SECONDS": "0",
    "INFILL_WORKER_ENGINE": "tests.bench.rig.instant_engine:create_engine",
    "INFILL_LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True, slots=True)
class Stores:
    """Postgres, Redis and S3, running; their data are in `home`."""

    home: Path
    servers: Supervisor


@dataclass(frozen=True, slots=True)
class Rig:
    """A database and a bucket with one tenant; `start` adds processes of ours."""

    stores: Stores
    processes: Supervisor
    settings: Settings
    database: Database
    samples: SampleServer
    tenant_id: int
    api_key: str

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the servers and of our processes, by name."""
        return self.stores.servers.pids | self.processes.pids

    async def start_gateway(self) -> int:
        """Start a gateway and return its port."""
        port = free_port()
        await self.processes.start(gateway_process(port))
        return port

    async def start_bare_gateway(self) -> int:
        """Start the gateway to compare with and return its port."""
        port = free_port()
        command = (
            *(sys.executable, "-m", "uvicorn", "tests.bench.rig.bare_gateway:app"),
            *("--loop", "uvloop", "--http", "httptools", "--log-level", "warning"),
            *("--host", LOOPBACK, "--port", str(port), "--no-access-log"),
        )
        environment = {
            "BARE_DATABASE_URL": self.settings.database.url.get_secret_value(),
            "BARE_REDIS_URL": self.settings.redis.url.get_secret_value(),
        }
        child = Child(
            name="bare gateway",
            command=command,
            environment=environment,
            ready=lambda: responds_ok(port, "/openapi.json"),
        )
        await self.processes.start(child)
        return port

    async def new_database(self, name: str) -> str:
        """Create one more migrated database on the same server; return its URL."""
        return await _create_database(self.settings, f"{name}_{uuid4().hex}")

    def request(self, **fields: Any) -> dict[str, Any]:
        """Return a valid inpainting request; its small images are served beside the gateway."""
        return {
            "key": self.api_key,
            "prompt": "a cat sitting on a bench",
            "negative_prompt": "blurry",
            "init_image": f"{self.samples.base_url}/bench_small.png",
            "mask_image": f"{self.samples.base_url}/bench_small_mask.png",
            "width": SMALL_SIDE,
            "height": SMALL_SIDE,
            "samples": 1,
            "num_inference_steps": 30,
            "guidance_scale": 7.5,
            "strength": 0.7,
            "seed": 7,
            **fields,
        }

    def openai_edit(self) -> dict[str, Any]:
        """Return the same request for the OpenAI Images API, with a webhook, so that it goes on."""
        return {
            "key": self.api_key,
            "prompt": "a cat sitting on a bench",
            "negative_prompt": "blurry",
            "images": [{"image_url": f"{self.samples.base_url}/bench_small.png"}],
            "mask": {"image_url": f"{self.samples.base_url}/bench_small_mask.png"},
            "size": f"{SMALL_SIDE}x{SMALL_SIDE}",
            "n": 1,
            "num_inference_steps": 30,
            "strength": 0.7,
            "seed": 7,
            "webhook": f"{self.samples.base_url}/webhook",
        }

    async def send_job(self, client: httpx2.AsyncClient, gateway: int) -> int:
        """Submit a job with a webhook and return its id."""
        url = f"http://{LOOPBACK}:{gateway}/api/v3/inpaint"
        request = self.request(webhook=f"{self.samples.base_url}/webhook")
        response = (await client.post(url, json=request)).json()
        assert response["status"] == "processing", response
        job_id: int = response["id"]
        return job_id


@asynccontextmanager
async def open_stores(home: Path) -> AsyncIterator[Stores]:
    """Start Postgres, Redis and S3 with data in `home`, and export their settings."""
    async with Supervisor(home / "logs") as servers:
        secrets = load_or_create_secrets(home)
        export_environment(default_settings(home, free_port(), secrets) | SETTINGS)
        export_environment(await start_stores(home, secrets, servers, lambda _: None))
        await _create_template(Settings())
        yield Stores(home, servers)


@asynccontextmanager
async def open_rig(stores: Stores) -> AsyncIterator[Rig]:
    """Make a rig with a database and a bucket of its own; its processes stop with the block."""
    name = f"bench-{uuid4().hex}"
    url = await _create_database(Settings(), name)
    export_environment({"INFILL_DATABASE_URL": url, "INFILL_S3_BUCKET": name})
    settings = Settings()
    await prepare_stores(settings, lambda _: None)
    async with Redis.from_url(settings.redis.url.get_secret_value()) as redis:
        await redis.flushall()
    database = Database(settings.database, application="infill-bench")
    try:
        tenant = await create_tenant(database, current_operator(), "bench")
        await set_tenant_limits(database, current_operator(), "bench", LIMITS)
        pepper = settings.gateway.require_pepper()
        issued = await issue_key(database, current_operator(), "bench", "bench", pepper=pepper)
        async with (
            sample_server(IMAGES) as samples,
            Supervisor(stores.home / "logs") as processes,
        ):
            yield Rig(stores, processes, settings, database, samples, tenant.id, issued.key)
    finally:
        await database.aclose()


async def _create_template(settings: Settings) -> None:
    """Create and migrate the database that all others are copied from."""
    await upgrade(await _create_database(settings, TEMPLATE, template="template0"))


async def _create_database(settings: Settings, name: str, template: str = TEMPLATE) -> str:
    """Create a copy of `template` on the server of `settings` and return its URL."""
    address = settings.database.url.get_secret_value()
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()
    return make_url(address).set(database=name).render_as_string(hide_password=False)
