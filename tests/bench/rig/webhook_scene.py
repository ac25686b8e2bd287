"""Webhook receivers and tenants beside a rig, for the phases that send webhooks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import asyncpg

from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.runtime.clock import monotonic
from common.settings.section import export_environment
from deploy.local.stack import dispatcher_process
from tests.bench.data.deliveries import create_secrets, end_jobs, origin
from tests.bench.data.waiting_jobs import make_tenants
from tests.bench.load.webhook_receivers import Receivers, open_receivers
from tests.bench.rig.stack import Rig

MILLISECONDS: Final = 1000
CHUNK: Final = 1_000
PAUSE_SECONDS: Final = 0.025
PATIENCE_SECONDS: Final = 300.0
OTHER_ORIGIN: Final = 501  # one that no backlog of a phase goes to
# All of loopback's addresses, each an origin of its own.
OPEN: Final = {
    "INFILL_OUTBOUND_ALLOWED_NETWORKS": '["127.0.0.0/8"]',
    "INFILL_OUTBOUND_ALLOWED_PORTS": "[0]",
}
P99_TARGET_MILLISECONDS: Final = 250


@dataclass(frozen=True, slots=True)
class WebhookScene:
    """A rig with webhook receivers beside it, and tenants with webhook secrets."""

    rig: Rig
    receivers: Receivers
    connection: "asyncpg.Connection[Any]"
    tenants: list[int]
    doorbell: Doorbell

    async def start_dispatcher(self, number: int = 1) -> str:
        """Start one more dispatcher and return its name."""
        name = f"dispatcher-{number}"
        await self.rig.processes.start(replace(dispatcher_process(), name=name))
        return name

    async def fill(self, tenants: list[int], urls: list[str]) -> None:
        """Insert pending webhooks, each of one of `tenants` to the URL beside it."""
        for start in range(0, len(urls), CHUNK):
            part = slice(start, start + CHUNK)
            await end_jobs(self.connection, tenants[part], urls[part])

    async def trickle(self, tenant_id: int, number: int) -> list[float]:
        """Commit webhooks one by one; return the milliseconds from each commit to its arrival."""
        committed = {}
        url = origin(OTHER_ORIGIN, self.receivers.prompt)
        before = await self.receivers.count()
        for _ in range(number):
            (delivery,) = await end_jobs(self.connection, [tenant_id], [url])
            committed[delivery] = monotonic()
            await self.doorbell.ring_dispatcher()
            await asyncio.sleep(PAUSE_SECONDS)
        await self.receivers.until(before + number, PATIENCE_SECONDS)
        arrivals = await self.receivers.arrivals(self.rig.stores.home)
        return [(arrivals[one] - moment) * MILLISECONDS for one, moment in committed.items()]


@asynccontextmanager
async def webhook_scene(rig: Rig, tenants: int) -> AsyncIterator[WebhookScene]:
    """Start the receivers and create the tenants."""
    export_environment(OPEN)
    connection = await asyncpg.connect(rig.settings.database.url.get_secret_value())
    redis = connect(rig.settings.redis)
    try:
        async with open_receivers() as receivers:
            made = await make_tenants(connection, {f"tenant-{n}": 1.0 for n in range(tenants)})
            await create_secrets(connection, made)
            doorbell = Doorbell(redis, rig.settings.redis)
            yield WebhookScene(rig, receivers, connection, made, doorbell)
    finally:
        await redis.aclose()
        await connection.close()
