"""What thousands of webhooks whose receivers hang cost the others, in latency and memory."""

import asyncio
from pathlib import Path
from typing import Final

from tests.bench.data.deliveries import origin
from tests.bench.figures import Figure, percentile
from tests.bench.rig.stack import Rig
from tests.bench.rig.webhook_scene import P99_TARGET_MILLISECONDS, PATIENCE_SECONDS, webhook_scene
from tests.bench.sizes import Sizes

MEGABYTE: Final = 1e6
SENDING: Final = "SELECT count(*) FROM deliveries WHERE state = 'sending'"
MEMORY_TARGET_MEGABYTES: Final = 300


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Let thousands of deliveries hang, and send others to a receiver that responds at once."""
    load = sizes.deliveries
    async with webhook_scene(rig, load.hanging_tenants + 1) as scene:
        *hanging, healthy = scene.tenants
        name = await scene.start_dispatcher()
        receivers = [
            ("http", scene.receivers.silent),
            ("https", scene.receivers.silent),  # never shakes hands
            ("http", scene.receivers.dripping),
        ]
        owners = [hanging[n % load.hanging_tenants] for n in range(load.hanging)]
        urls = []
        for number in range(load.hanging):
            scheme, port = receivers[number % load.hanging_origins % len(receivers)]
            urls.append(origin(number % load.hanging_origins, port, scheme))
        await scene.fill(owners, urls)
        least = round(load.hanging * 0.95)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (sending := await scene.connection.fetchval(SENDING)) < least:  # noqa: ASYNC110 - in other processes
                await asyncio.sleep(0.05)
        waits = await scene.trickle(healthy, load.trickled)
        peak = peak_bytes(rig.pids[name]) / MEGABYTE
    note = (
        f"p50 {percentile(waits, 50):.1f} ms, most {max(waits):.0f} ms over {load.trickled}, one "
        f"at a time; {sending:,} under way to {load.hanging_origins} origins that are silent, "
        "stall in TLS or drip; they time out and are sent again meanwhile"
    )
    return [
        Figure(
            f"commit to arrival while {load.hanging:,} hang, p99",
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


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has used so far, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024
