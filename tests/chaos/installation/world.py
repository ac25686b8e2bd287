"""The whole installation under test, and everything around it."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg

from common.operations.api_keys import issue_key
from common.operations.audit import Operator
from common.operations.tenants import create_tenant
from common.postgres.database import Database
from common.settings import Settings
from common.settings.section import export_environment
from deploy.local.processes.child import Child
from deploy.local.sample_server import sample_server
from deploy.local.servers.ports import LOOPBACK, free_ports
from deploy.local.servers.postgres import PostgresServer
from deploy.local.stack import dispatcher_process, gateway_process, worker_process
from tests.bench.rig.stack import IMAGES
from tests.chaos.faults.crash_points import CrashPoints
from tests.chaos.installation.fleet import Member
from tests.chaos.installation.stores import Stores, open_stores
from tests.chaos.journal import Journal
from tests.chaos.load.receiver import Receiver, receiving
from tests.chaos.plan import Plan
from tests.support.tcp_proxy import Proxy, proxy

# One gateway makes its callers wait for their jobs, the other answers at once.
SYNC_WAITS = ("8", "0")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Credentials of one tenant."""

    key: str
    secret: str


@dataclass(frozen=True, slots=True)
class World:
    """Everything that faults act on and checks read."""

    plan: Plan
    chance: random.Random
    journal: Journal
    crash_points: CrashPoints
    stores: Stores
    gateways: list[Member]
    gateway_urls: list[str]
    workers: list[Member]
    lines: list[Proxy]  # from each worker to Postgres
    dispatchers: list[Member]
    receiver: Receiver
    images_url: str
    tenants: list[Tenant]

    @property
    def ours(self) -> list[Member]:
        """The processes under test."""
        return [*self.gateways, *self.workers, *self.dispatchers]

    async def ask(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """Query the rows without the product's code."""
        connection = await asyncpg.connect(self.stores.postgres_server.url())
        try:
            rows: list[asyncpg.Record] = await connection.fetch(query, *values)
            return rows
        finally:
            await connection.close()


@asynccontextmanager
async def open_world(plan: Plan, home: Path, broken: str = "") -> AsyncIterator[World]:
    """Start it all; everything ends with the block."""
    journal = Journal(home / "journal.jsonl")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stores = await enter(open_stores(plan, home, journal))
        export_environment({"CHAOS_HOME": str(home), "CHAOS_BREAK": broken})
        server = stores.postgres_server
        lines = [await enter(proxy(server.port)) for _ in range(plan.workers)]
        ports = free_ports(plan.gateways)

        def member(child: Child, number: int) -> Member:
            return Member(_hooked(child, number), journal, home)

        world = World(
            plan=plan,
            chance=random.Random(plan.seed),
            journal=journal,
            crash_points=CrashPoints(home / "crash_points", journal),
            stores=stores,
            gateways=[member(_gateway(n, port), n) for n, port in enumerate(ports)],
            gateway_urls=[f"http://{LOOPBACK}:{port}" for port in ports],
            workers=[member(_worker(server, line), n) for n, line in enumerate(lines)],
            lines=lines,
            dispatchers=[member(dispatcher_process(), n) for n in range(plan.dispatchers)],
            receiver=await enter(receiving(plan.seed)),
            images_url=(await enter(sample_server(IMAGES))).base_url,
            tenants=await _make_tenants(stores.settings, plan.tenants),
        )
        stack.push_async_callback(_end, world.ours)
        await asyncio.gather(*(one.up() for one in world.ours))
        yield world


async def _end(members: list[Member]) -> None:
    await asyncio.gather(*(member.end() for member in members))


def _gateway(number: int, port: int) -> Child:
    waits = {"INFILL_SYNC_WAIT_SECONDS": SYNC_WAITS[number]}
    return replace(gateway_process(port), environment=waits)


def _worker(server: PostgresServer, line: Proxy) -> Child:
    child = worker_process()
    through = {"INFILL_DATABASE_URL": replace(server, port=line.port).url()}
    return replace(child, environment={**child.environment, **through})


def _hooked(child: Child, number: int) -> Child:
    """Return the same process with the harness's hooks and a number."""
    _, _, _, *arguments = child.command
    command = (sys.executable, "-m", "tests.chaos.inside", *arguments)
    return replace(child, name=f"{child.name}-{number}", command=command)


async def _make_tenants(settings: Settings, number: int) -> list[Tenant]:
    database = Database(settings.database, application="infill-chaos")
    pepper = settings.gateway.require_pepper()
    harness = Operator("chaos")
    try:
        made = [
            await create_tenant(database, harness, f"tenant-{index}") for index in range(number)
        ]
        keys = [
            (await issue_key(database, harness, new.name, "chaos", pepper=pepper)).key
            for new in made
        ]
    finally:
        await database.aclose()
    return [Tenant(key, new.webhook_secret) for key, new in zip(keys, made, strict=True)]
