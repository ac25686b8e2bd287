"""What the benchmarks run against: real servers and our processes, each started when needed."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import make_url

from common.operations.api_keys import issue_key
from common.operations.tenants import create_tenant, set_tenant_limits
from common.postgres.database import Database
from common.settings import Settings
from common.settings.section import export
from deploy.cli.migrate import upgrade
from deploy.cli.operators.running import operator
from deploy.local.keyring import load_or_create_secrets
from deploy.local.processes.child import Child
from deploy.local.processes.http_check import answers_ok
from deploy.local.processes.supervisor import Supervisor
from deploy.local.sample_server import SampleServer, sample_server
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.servers.servers import prepare_stores, start_servers
from deploy.local.stack import gateway_process, own_settings

SMALL = 64
PICTURES = Path(__file__).parent
# One of every kind, each wider than any load here: what they cost is part of what is measured.
LIMITS: dict[str, Any] = {
    "requests_per_minute": 10_000_000,
    "max_queued": 100_000,
    "max_running": 10_000,
    "max_running_per_queue": 10_000,
    "max_pixels": 1024 * 1024,
    "max_inference_steps": 51,
    "models": ["standin-inpainting", "standin"],
    "monthly_credits": 1e9,
}


@dataclass
class Rig:
    """A stack without our processes; `start` adds them."""

    supervisor: Supervisor
    settings: Settings
    database: Database
    beside: SampleServer
    tenant_id: int
    api_key: str

    async def start_gateway(self) -> int:
        port = free_port()
        await self.supervisor.start(gateway_process(port))
        return port

    async def start_baseline(self) -> int:
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
        ready = Child(
            name="baseline",
            command=command,
            environment=environment,
            ready=lambda: answers_ok(port, "/openapi.json"),
        )
        await self.supervisor.start(ready)
        return port

    async def new_database(self, name: str) -> str:
        """Make and migrate one more database on the same server; give its address."""
        address = make_url(self.settings.database.url.get_secret_value())
        async with self.database.statement() as connection:
            await connection.exec_driver_sql(f"CREATE DATABASE {name}")
        url = address.set(database=name).render_as_string(hide_password=False)
        await upgrade(url)
        return url

    def request(self, **fields: Any) -> dict[str, Any]:
        """Give a valid inpainting request with small pictures served beside us."""
        return {
            "key": self.api_key,
            "prompt": "a cat sitting on a bench",
            "negative_prompt": "blurry",
            "init_image": f"{self.beside.base_url}/bench_small.png",
            "mask_image": f"{self.beside.base_url}/bench_small_mask.png",
            "width": SMALL,
            "height": SMALL,
            "samples": 1,
            "num_inference_steps": 30,
            "guidance_scale": 7.5,
            "strength": 0.7,
            "seed": 7,
            **fields,
        }

    async def send_job(self, client: httpx2.AsyncClient, gateway: int) -> int:
        """Post a job with a webhook and give its id."""
        url = f"http://{LOOPBACK}:{gateway}/api/v3/inpaint"
        request = self.request(webhook=f"{self.beside.base_url}/webhook")
        answer = (await client.post(url, json=request)).json()
        assert answer["status"] == "processing", answer
        job_id: int = answer["id"]
        return job_id


@asynccontextmanager
async def open_rig(home: Path) -> AsyncIterator[Rig]:
    """Start Postgres, Redis, S3 and the picture server; all end with the block."""
    async with Supervisor(home / "logs") as supervisor, sample_server(PICTURES) as beside:
        keyring = load_or_create_secrets(home)
        export(own_settings(home, free_port(), keyring))
        export(
            {
                "INFILL_SYNC_WAIT_SECONDS": "0",
                "INFILL_WORKER_ENGINE": "tests.bench.rig.instant_engine:create_engine",
                "INFILL_LOG_LEVEL": "WARNING",
            }
        )
        export(await start_servers(home, keyring, supervisor, lambda _: None))
        settings = Settings()
        await prepare_stores(settings, lambda _: None)
        database = Database(settings.database, application="infill-bench")
        tenant = await create_tenant(database, operator(), "bench")
        pepper = settings.gateway.required_pepper()
        await set_tenant_limits(database, operator(), "bench", LIMITS)
        issued = await issue_key(database, operator(), "bench", "bench", pepper=pepper)
        try:
            yield Rig(supervisor, settings, database, beside, tenant.id, issued.key)
        finally:
            await database.aclose()


async def load(
    port: int, path: str, body: dict[str, Any], *, connections: int, requests: int
) -> dict[str, float]:
    """Run the load generator in a process of its own; give its figures."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.load.http_load"),
        *(str(port), path, str(connections), str(requests)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(json.dumps(body).encode())
    if process.returncode:
        raise RuntimeError(f"the load generator failed on {path}")
    figures: dict[str, float] = json.loads(output)
    return figures
