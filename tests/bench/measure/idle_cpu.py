"""CPU time of the whole stack while it receives no request."""

import asyncio

from common.runtime.clock import monotonic
from tests.bench.figures import Figure
from tests.bench.rig.cpu import cpu_by_name
from tests.bench.rig.stack import Rig
from tests.bench.sizes import Sizes

PERCENT = 100


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Count the CPU time of every running process while nothing is sent."""
    await asyncio.sleep(sizes.latency.settle_seconds)
    pids = rig.pids
    before = cpu_by_name(pids)
    begun = monotonic()
    await asyncio.sleep(sizes.latency.watch_seconds)
    seconds = monotonic() - begun
    after = cpu_by_name(pids)
    shares = {name: (after[name] - used) / seconds * PERCENT for name, used in before.items()}
    parts = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    return [
        Figure(
            name="whole stack idle",
            value=sum(shares.values()),
            unit="% of a core",
            target=3,
            at_least=False,
            note=f"over {seconds:.0f} s: {parts}",
        )
    ]
