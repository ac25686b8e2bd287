"""How fast webhooks go out, and what receivers that hang or are dead cost the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import asyncpg

from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.runtime.clock import monotonic
from common.settings.section import export
from deploy.local.stack import dispatcher_process
from tests.bench.data.deliveries import Receivers, give_secrets, origin, receivers, tell
from tests.bench.data.waiting_jobs import make_tenants
from tests.bench.figures import Figure, percentile
from tests.bench.rig.cpu import cpu_by_name
from tests.bench.rig.stack import Rig

MILLISECONDS: Final = 1000
MEGABYTE: Final = 1e6
TENANTS: Final = 20
ORIGINS: Final = 40
DELIVERIES: Final = 10_000
CHUNK: Final = 1_000
HANGING: Final = 5_000
HANGING_TENANTS: Final = 50
HANGING_ORIGINS: Final = 500
HEALTHY: Final = 400
PAUSE_SECONDS: Final = 0.025
PATIENCE_SECONDS: Final = 300.0
# All of loopback's addresses, each an origin of its own.
OPEN: Final = {
    "INFILL_OUTBOUND_ALLOWED_NETWORKS": '["127.0.0.0/8"]',
    "INFILL_OUTBOUND_ALLOWED_PORTS": "[0]",
}
SENDING: Final = "SELECT count(*) FROM deliveries WHERE state = 'sending'"
RATE_TARGET: Final = 800
P99_TARGET_MILLISECONDS: Final = 250
MEMORY_TARGET_MEGABYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Scene:
    """A rig with receivers beside it; `tenants` sign what they are told."""

    rig: Rig
    home: Path
    receivers: Receivers
    connection: "asyncpg.Connection[Any]"
    tenants: list[int]
    doorbell: Doorbell

    async def start_dispatcher(self, number: int = 1) -> str:
        """Start one more; give its name."""
        name = f"dispatcher-{number}"
        await self.rig.supervisor.start(replace(dispatcher_process(), name=name))
        return name

    async def fill(self, tenants: list[int], urls: list[str]) -> None:
        """Let so many wait."""
        for start in range(0, len(urls), CHUNK):
            part = slice(start, start + CHUNK)
            await tell(self.connection, tenants[part], urls[part])

    async def trickle(self, tenant_id: int, number: int) -> list[float]:
        """Commit one after another; give the milliseconds from each commit to its arrival."""
        committed = {}
        url = origin(HANGING_ORIGINS + 1, self.receivers.prompt)
        before = await self.receivers.count()
        for _ in range(number):
            (delivery,) = await tell(self.connection, [tenant_id], [url])
            committed[delivery] = monotonic()
            await self.doorbell.ring_dispatcher()
            await asyncio.sleep(PAUSE_SECONDS)
        await self.receivers.until(before + number, PATIENCE_SECONDS)
        arrivals = await self.receivers.arrivals(self.home)
        return [(arrivals[one] - moment) * MILLISECONDS for one, moment in committed.items()]


@asynccontextmanager
async def scene(rig: Rig, home: Path, tenants: int) -> AsyncIterator[Scene]:
    """Set up receivers and tenants."""
    export(OPEN)
    connection = await asyncpg.connect(rig.settings.database.url.get_secret_value())
    redis = connect(rig.settings.redis)
    try:
        async with receivers() as beside:
            made = await make_tenants(connection, {f"told-{n}": 1.0 for n in range(tenants)})
            await give_secrets(connection, made)
            yield Scene(rig, home, beside, connection, made, Doorbell(redis, rig.settings.redis))
    finally:
        await redis.aclose()
        await connection.close()


async def measure_delivering(rig: Rig, home: Path) -> list[Figure]:
    """Let one dispatcher, then two, send a backlog to a receiver that answers at once."""
    async with scene(rig, home, TENANTS) as setting:
        rates, notes = [], []
        for dispatchers in (1, 2):
            rate, note = await _send_all(setting, dispatchers)
            rates.append(rate)
            notes.append(note)
    one, two = rates
    return [
        Figure("deliveries, one dispatcher", one, "/s", RATE_TARGET, at_least=True, note=notes[0]),
        Figure(
            "deliveries, two dispatchers", two, "/s", 1, at_least=True, baseline=one, note=notes[1]
        ),
    ]


async def _send_all(setting: Scene, dispatchers: int) -> tuple[float, str]:
    before = await setting.receivers.arrivals(setting.home)
    urls = [origin(n % ORIGINS, setting.receivers.prompt) for n in range(DELIVERIES)]
    # The dispatchers there are begin at once; those that come later have the larger part left.
    if dispatchers == 1:
        await setting.fill([setting.tenants[n % TENANTS] for n in range(DELIVERIES)], urls)
    await setting.start_dispatcher(dispatchers)
    pids = setting.rig.supervisor.pids
    used = cpu_by_name(pids)
    if dispatchers > 1:
        await setting.fill([setting.tenants[n % TENANTS] for n in range(DELIVERIES)], urls)
    await setting.receivers.until(len(before) + DELIVERIES, PATIENCE_SECONDS)
    spent = {name: seconds - used[name] for name, seconds in cpu_by_name(pids).items()}
    after = await setting.receivers.arrivals(setting.home)
    moments = sorted(moment for one, moment in after.items() if one not in before)
    begun = DELIVERIES // 10  # statements are planned, code is warm
    rate = (len(moments) - begun) / (moments[-1] - moments[begun - 1])
    each = {name: seconds / DELIVERIES * MILLISECONDS for name, seconds in spent.items()}
    told = ", ".join(f"{name} {cost:.2f}" for name, cost in each.items() if cost >= 0.01)
    return rate, f"{DELIVERIES:,} of {TENANTS} tenants to {ORIGINS} origins; CPU ms each: {told}"


async def measure_hanging(rig: Rig, home: Path) -> list[Figure]:
    """Have thousands of deliveries hang, and others go to a receiver that answers at once."""
    async with scene(rig, home, HANGING_TENANTS + 1) as setting:
        *hanging, healthy = setting.tenants
        name = await setting.start_dispatcher()
        places = [
            ("http", setting.receivers.silent),
            ("https", setting.receivers.silent),  # never shakes hands
            ("http", setting.receivers.dripping),
        ]
        owners = [hanging[n % HANGING_TENANTS] for n in range(HANGING)]
        urls = []
        for number in range(HANGING):
            scheme, port = places[number % HANGING_ORIGINS % len(places)]
            urls.append(origin(number % HANGING_ORIGINS, port, scheme))
        await setting.fill(owners, urls)
        least = round(HANGING * 0.95)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (sending := await setting.connection.fetchval(SENDING)) < least:  # noqa: ASYNC110 another process has no event here
                await asyncio.sleep(0.05)
        waits = await setting.trickle(healthy, HEALTHY)
        peak = _peak_bytes(rig.supervisor.pids[name]) / MEGABYTE
    note = (
        f"p50 {percentile(waits, 50):.1f} ms, most {max(waits):.0f} ms over {HEALTHY}, one at a "
        f"time; {sending:,} under way to {HANGING_ORIGINS} origins that are silent, stall in TLS "
        "or drip; they time out and come again meanwhile"
    )
    return [
        Figure(
            "commit to arrival while 5,000 hang, p99",
            percentile(waits, 99),
            "ms",
            P99_TARGET_MILLISECONDS,
            at_least=False,
            note=note,
        ),
        Figure(
            "memory of that dispatcher, at its peak",
            peak,
            "MB",
            MEMORY_TARGET_MEGABYTES,
            at_least=False,
        ),
    ]


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024
