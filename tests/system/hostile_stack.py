"""The real processes behind a hostile name server, and the outcomes of their jobs."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from pydantic import SecretStr

from common.operations.api_keys import issue_key
from common.operations.tenants import create_tenant
from common.postgres.database import Database
from common.settings import DatabaseSettings
from deploy.local.processes.readiness import wait_until_ready
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.stack import dispatcher_process, gateway_process, worker_process
from tests.hostile.servers.certificates import Authority
from tests.hostile.servers.dns_server import NameServer, answering
from tests.support.operators import OPERATOR, PEPPER
from tests.system.installation import STAND_INS, small_body

ENDED_SECONDS = 60.0
SAMPLES = Path(__file__).parents[2] / "deploy/local/samples"

# Short timeouts, so that a hanging request ends soon. Of loopback only 127.0.0.1 is allowed, as on
# the local stack; every port is allowed, because the test servers use free ones.
SETTINGS = {
    "INFILL_API_KEY_PEPPER": PEPPER,
    "INFILL_MODELS_SERVE": json.dumps(STAND_INS),
    "INFILL_SYNC_WAIT_SECONDS": "0",
    "INFILL_OUTBOUND_ALLOWED_NETWORKS": json.dumps([f"{LOOPBACK}/32"]),
    "INFILL_OUTBOUND_ALLOWED_PORTS": "[0]",
    "INFILL_OUTBOUND_DNS_TIMEOUT_SECONDS": "1",
    "INFILL_OUTBOUND_IMAGE_TIMEOUT_SECONDS": "2",
    "INFILL_OUTBOUND_IMAGE_MAX_BYTES": "100000",
    "INFILL_JOB_MAX_ATTEMPTS": "1",
    "INFILL_WORKER_CONCURRENCY": "16",
    "INFILL_WORKER_ENGINE": "tests.bench.rig.instant_engine:create_engine",
    "INFILL_WEBHOOK_RETRY_SCHEDULE_SECONDS": "[0.1]",
    "INFILL_WEBHOOK_TIMEOUT_SECONDS": "2",
    "INFILL_WEBHOOK_POLL_SECONDS": "0.2",
}

OUTCOMES = """
SELECT jobs.state, jobs.error_code AS code, jobs.error_message AS message,
       deliveries.state AS delivery,
       ARRAY(SELECT coalesce(log.error, log.status_code::text) FROM delivery_attempts AS log
              WHERE log.delivery_id = deliveries.id ORDER BY log.id) AS attempts
  FROM jobs LEFT JOIN deliveries ON deliveries.job_id = jobs.id
 WHERE jobs.id = ANY($1::bigint[]) ORDER BY jobs.id
"""
UNENDED = """
SELECT count(*) FROM jobs LEFT JOIN deliveries ON deliveries.job_id = jobs.id
 WHERE jobs.id = ANY($1::bigint[])
   AND (jobs.finished_at IS NULL OR deliveries.finished_at IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a job and its webhook; `attempts` are HTTP statuses or error names."""

    state: str
    code: str | None
    message: str | None
    delivery: str | None
    attempts: list[str]


@dataclass(frozen=True, slots=True)
class HostileStack:
    """The gateway's URL, the name server of the processes, and the authority they trust."""

    names: NameServer
    authority: Authority
    url: str
    key: str
    client: httpx2.AsyncClient
    database: asyncpg.Connection

    async def post(self, **fields: Any) -> Any:
        """Submit an inpaint job and return the body of the response."""
        response = await self.client.post(
            f"{self.url}/api/v3/inpaint", json={"key": self.key, **small_body(**fields)}
        )
        return response.json()

    async def outcomes(self, jobs: Sequence[dict[str, Any]]) -> list[Outcome]:
        """Submit the jobs, wait until they and their webhooks have ended; return the outcomes."""
        ids = [(await self.post(**fields))["id"] for fields in jobs]

        async def all_ended() -> bool:
            return bool(await self.database.fetchval(UNENDED, ids) == 0)

        await wait_until_ready(all_ended, "the end of the jobs", ENDED_SECONDS)
        rows = await self.database.fetch(OUTCOMES, ids)
        return [Outcome(**row) for row in rows]


@asynccontextmanager
async def open_hostile_stack(stores: dict[str, str], home: Path) -> AsyncIterator[HostileStack]:
    """Run gateway, worker and dispatcher with a hostile name server while the block lasts."""
    authority = Authority(home)
    trusted = home / "authority.pem"
    trusted.write_bytes(authority.pem)
    async with answering() as names, httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        settings = SETTINGS | {
            "INFILL_OUTBOUND_NAMESERVERS": json.dumps([f"{LOOPBACK}:{names.port}"]),
            "SSL_CERT_FILE": str(trusted),
        }
        port = free_port()
        children = (gateway_process(port), worker_process(), dispatcher_process())
        async with Supervisor(home / "logs") as supervisor:
            async with asyncio.TaskGroup() as starting:
                for child in children:
                    environment = {**stores, **settings, **child.environment}
                    started = supervisor.start(replace(child, environment=environment))
                    starting.create_task(started)
            key = await _new_key(stores["INFILL_DATABASE_URL"])
            database = await asyncpg.connect(stores["INFILL_DATABASE_URL"])
            try:
                url = f"http://{LOOPBACK}:{port}"
                yield HostileStack(names, authority, url, key, client, database)
            finally:
                await database.close()


async def _new_key(url: str) -> str:
    database = Database(DatabaseSettings(url=SecretStr(url)), application="infill-tests")
    try:
        tenant = await create_tenant(database, OPERATOR, "alice")
        return (await issue_key(database, OPERATOR, tenant.name, "first", pepper=PEPPER)).key
    finally:
        await database.aclose()


async def sample_response(name: str) -> bytes:
    """Return a correct HTTP response with a sample image."""
    content = await asyncio.to_thread((SAMPLES / name).read_bytes)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(content) + content
