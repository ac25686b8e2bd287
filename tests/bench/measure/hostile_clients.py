"""A healthy client beside a thousand hostile connections without a key."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from common.settings.section import export_environment
from deploy.local.servers.ports import LOOPBACK
from tests.bench.figures import Figure, percentile
from tests.bench.measure.hanging_receivers import MEGABYTE, peak_bytes
from tests.bench.rig.stack import Rig
from tests.bench.sizes import HostileSizes, Sizes

MILLISECONDS: Final = 1000
STALL: Final = re.compile(r"^infill_event_loop_stall_seconds (\S+)", re.MULTILINE)
# Targets: in percent, times the baseline, in megabytes, in milliseconds and in seconds.
SERVED_TARGET: Final = 99.9
P99_TARGET: Final = 3
MEMORY_TARGET: Final = 600
STALL_TARGET: Final = 100
LATE_TARGET: Final = 1.0
# The gateway writes several megabytes before the buffers between are full.
READER_LATE_TARGET: Final = 10.0


@dataclass(frozen=True, slots=True)
class Healthy:
    """What a healthy client got."""

    sent: int
    latencies: list[float]

    @property
    def p99_ms(self) -> float:
        return percentile(self.latencies, 99) * MILLISECONDS


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Send requests at a steady rate, alone and then beside the hostile clients."""
    load = sizes.hostile
    export_environment(load.settings)
    gateway = await rig.start_gateway()
    url = f"http://{LOOPBACK}:{gateway}"
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        job_id = await rig.send_job(client, gateway)
        requests = [
            ("/api/v3/inpaint", rig.request()),
            (f"/api/v3/fetch/{job_id}", {"key": rig.api_key}),
        ]
        alone, _ = await _steady_and_watched(client, gateway, requests, load, load.baseline_seconds)
        (beside, stall), tallies = await asyncio.gather(
            _steady_and_watched(client, gateway, requests, load, load.seconds),
            _run(
                "hostile_clients",
                *(gateway, load.connections, load.seconds, load.body_bytes),
            ),
        )
    peak = peak_bytes(rig.pids["gateway"]) / MEGABYTE
    return [*_figures(load, alone, beside, stall, peak), *_lateness(load, tallies)]


def _figures(
    load: HostileSizes, alone: Healthy, beside: Healthy, stall: float, peak: float
) -> list[Figure]:
    served = 100 * len(beside.latencies) / beside.sent
    return [
        Figure(
            f"healthy requests served beside {load.connections:,} hostile connections",
            served,
            "%",
            SERVED_TARGET,
            at_least=True,
            note=f"{len(beside.latencies):,} of {beside.sent:,} in {load.seconds:.0f} s; "
            f"alone {len(alone.latencies):,} of {alone.sent:,}",
        ),
        Figure(
            "latency of a healthy request beside them, p99",
            beside.p99_ms,
            "ms",
            P99_TARGET,
            at_least=False,
            baseline=alone.p99_ms,
            note="job submissions and fetches in turn; the baseline is without hostile clients",
        ),
        Figure("memory of that gateway, at its peak", peak, "MB", MEMORY_TARGET, at_least=False),
        Figure(
            "longest stall of that gateway's event loop",
            stall * MILLISECONDS,
            "ms",
            STALL_TARGET,
            at_least=False,
        ),
    ]


def _lateness(load: HostileSizes, tallies: dict[str, list[float]]) -> list[Figure]:
    """Return by how much each kind of slow client outlived its deadline."""
    deadlines = {
        "silence": load.head_seconds,
        "slow head": load.head_seconds,
        "slow body": load.body_seconds,
        "slow chunks": load.body_seconds,
        "slow reader": load.response_seconds,
    }
    figures = []
    for kind, deadline in deadlines.items():
        ended, longest = tallies[kind]
        figures.append(
            Figure(
                f"{kind}: longest time beyond its deadline",
                # Without an end in the whole run, the run is the time to compare.
                (longest if ended else load.seconds) - deadline,
                "s",
                READER_LATE_TARGET if kind == "slow reader" else LATE_TARGET,
                at_least=False,
                note=f"deadline {deadline:g} s; {ended:.0f} connections ended by the gateway",
            )
        )
    return figures


async def _steady_and_watched(
    client: httpx2.AsyncClient,
    port: int,
    requests: list[Any],
    load: HostileSizes,
    seconds: float,
) -> tuple[Healthy, float]:
    """Run the healthy client; return its result and the longest stall reported meanwhile."""
    steady = asyncio.ensure_future(_steady(port, requests, load.per_second, seconds))
    stalls = [0.0]
    while not steady.done():
        await asyncio.wait([steady], timeout=load.watch_seconds)
        match = STALL.search((await client.get("/metrics")).text)
        assert match
        stalls.append(float(match[1]))
    return await steady, max(stalls)


async def _steady(port: int, requests: list[Any], per_second: float, seconds: float) -> Healthy:
    text = json.dumps(requests)
    return Healthy(**await _run("steady_client", port, per_second, seconds, text=text))


async def _run(program: str, *arguments: object, text: str = "") -> dict[str, Any]:
    """Run a load generator in a process of its own and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.bench.load.{program}", *map(str, arguments)),
        stdin=PIPE,
        stdout=PIPE,
    )
    output, _ = await process.communicate(text.encode())
    if process.returncode:
        raise RuntimeError(f"{program} failed")
    result: dict[str, Any] = json.loads(output)
    return result
