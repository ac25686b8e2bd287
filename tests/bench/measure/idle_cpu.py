"""What the whole stack costs when nobody asks anything of it."""

import asyncio

from common.runtime.clock import monotonic
from tests.bench.figures import Figure
from tests.bench.rig.cpu import cpu_by_name
from tests.bench.rig.stack import Rig

SETTLE_SECONDS = 5
WATCH_SECONDS = 30
PERCENT = 100


async def measure_idling(rig: Rig) -> list[Figure]:
    """Watch the CPU time of every process while nothing is sent."""
    await asyncio.sleep(SETTLE_SECONDS)
    pids = rig.supervisor.pids
    before = cpu_by_name(pids)
    begun = monotonic()
    await asyncio.sleep(WATCH_SECONDS)
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
