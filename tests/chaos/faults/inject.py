"""The faults; injecting one returns when the installation is whole again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import zip_longest

from redis.asyncio import Redis

from common.domain.errors import ConfigurationError
from common.runtime.clock import monotonic
from deploy.local.processes.readiness import wait_until_ready
from tests.chaos.installation.fleet import Member
from tests.chaos.installation.world import World

CRASH_SECONDS = 45.0
LEAVE_SECONDS = 60.0
BUSY = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

Fault = Callable[[World], Awaitable[None]]


class NotInjectedError(Exception):
    """The fault could not be injected, so the run shows nothing about it."""


async def inject(world: World, kind: str) -> None:
    """Inject a fault and record when it began and ended.

    Raises:
        NotInjectedError: no process reached the point at which to crash.
    """
    world.journal.note("fault_begins", kind=kind)
    await (FAULTS[kind](world) if kind in FAULTS else _crash(world, kind))
    world.journal.note("fault_ends", kind=kind)


async def _crash(world: World, place: str) -> None:
    world.crash_points.arm(place)

    async def crashed() -> bool:
        return not (world.crash_points.folder / place).exists()

    try:
        await wait_until_ready(crashed, place, CRASH_SECONDS)
    except ConfigurationError as error:
        if world.crash_points.disarm(place):
            raise NotInjectedError(place) from error


async def _dispatcher_during(world: World) -> None:
    """Kill the dispatcher whose POST has just arrived, before it is answered."""
    killed = asyncio.Event()

    async def kill_sender(webhook_id: str) -> bool:
        if killed.is_set():
            return False
        rows = await world.ask("SELECT claimed_by FROM deliveries WHERE id = $1", webhook_id)
        sender = (rows[0][0] or "") if rows else ""
        for member in world.dispatchers:
            if sender.endswith(f"-{member.pid}"):
                killed.set()
                member.kill()
                return True
        return False

    world.receiver.on_call = kill_sender
    try:
        async with asyncio.timeout(CRASH_SECONDS):
            await killed.wait()
    except TimeoutError as error:
        raise NotInjectedError("dispatcher.during") from error
    finally:
        world.receiver.on_call = None


async def _worker_frozen(world: World) -> None:
    """Freeze a generating worker past its lease; resume it while its successor generates."""
    member, token = await _generating_worker(world)
    frozen_at = monotonic()
    member.freeze()

    async def generated_again() -> bool:
        later = (e for e in world.journal.entries("generating") if e.at > frozen_at)
        return any(e.facts["token"] == token and e.pid != member.pid for e in later)

    try:
        await wait_until_ready(generated_again, "a successor", CRASH_SECONDS)
    except ConfigurationError as error:
        raise NotInjectedError("no worker took over from the frozen one") from error
    finally:
        member.thaw()


async def _worker_cut_off(world: World) -> None:
    """Stall the network between a worker and Postgres until long after its lease."""
    member, _ = await _generating_worker(world)
    number = world.workers.index(member)
    pid, line = world.workers[number].pid, world.lines[number]
    world.journal.note("frozen", victim=pid)
    line.stall()
    await asyncio.sleep(world.plan.lease_seconds + 3)
    line.resume()
    world.journal.note("thawed", victim=pid)


async def _generating_worker(world: World) -> tuple[Member, str]:
    """Return a worker that is generating now, and the token of its order."""
    seen = len(world.journal.entries("generating"))
    well_on = 1.0 if world.plan.long == world.plan.jobs else 0.0
    found: list[tuple[Member, str]] = []

    async def generating() -> bool:
        for entry in world.journal.entries("generating")[seen:]:
            if entry.at <= monotonic() - well_on:
                alive = (member for member in world.workers if member.pid == entry.pid)
                found.extend((member, entry.facts["token"]) for member in alive)
        return bool(found)

    try:
        await wait_until_ready(generating, "a generating worker", CRASH_SECONDS)
    except ConfigurationError as error:
        raise NotInjectedError("no worker generates") from error
    return found[-1]


@asynccontextmanager
async def _without(world: World, store: Member) -> AsyncIterator[None]:
    world.journal.note("store_away", store=store.name)
    await store.down()
    yield
    await store.up()
    world.journal.note("store_back", store=store.name)


def _restart(name: str) -> Fault:
    async def restart(world: World) -> None:
        async with _without(world, getattr(world.stores, name)):
            pass

    return restart


def _away(name: str) -> Fault:
    async def away(world: World) -> None:
        async with _without(world, getattr(world.stores, name)):
            await asyncio.sleep(world.plan.away_seconds)

    return away


async def _s3_busy(world: World) -> None:
    """Answer every request to the store with 503, on the store's own port."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(BUSY)
            await writer.drain()
        writer.close()

    async with _without(world, world.stores.s3):
        busy = await asyncio.start_server(refuse, "127.0.0.1", world.stores.s3_port)
        await asyncio.sleep(world.plan.away_seconds)
        busy.close()


async def _s3_outage(world: World) -> None:
    async with _without(world, world.stores.s3):
        await asyncio.sleep(world.plan.outage_seconds)


async def _redis_read_only(world: World) -> None:
    """Make Redis a replica of a primary that nobody reaches, as after a failed failover."""
    async with Redis.from_url(world.stores.settings.redis.url.get_secret_value()) as admin:
        world.journal.note("store_away", store="redis")
        await admin.replicaof("127.0.0.1", "1")
        await asyncio.sleep(world.plan.away_seconds)
        await admin.replicaof("NO", "ONE")
        world.journal.note("store_back", store="redis")


async def _rolling_restart(world: World) -> None:
    """Restart every process under test, one of each kind at a time, as an upgrade does."""
    kinds = (world.gateways, world.workers, world.dispatchers)
    for together in zip_longest(*kinds):
        await asyncio.gather(*(_replace(member) for member in together if member))


async def _replace(member: Member) -> None:
    async with asyncio.timeout(LEAVE_SECONDS):
        await member.leave()
    await member.up()


FAULTS: dict[str, Fault] = {
    "dispatcher.during": _dispatcher_during,
    "worker.frozen": _worker_frozen,
    "worker.cut_off": _worker_cut_off,
    "redis.restart": _restart("redis"),
    "redis.away": _away("redis"),
    "postgres.restart": _restart("postgres"),
    "postgres.away": _away("postgres"),
    "s3.away": _away("s3"),
    "s3.busy": _s3_busy,
    "s3.outage": _s3_outage,
    "redis.read_only": _redis_read_only,
    "rolling.restart": _rolling_restart,
}
