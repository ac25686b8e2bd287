"""Webhooks sent per second by one dispatcher and by two."""

from typing import Final

from tests.bench.data.deliveries import origin
from tests.bench.figures import Figure
from tests.bench.rig.cpu import cpu_by_name
from tests.bench.rig.stack import Rig
from tests.bench.rig.webhook_scene import (
    MILLISECONDS,
    PATIENCE_SECONDS,
    WebhookScene,
    webhook_scene,
)
from tests.bench.sizes import DeliverySizes, Sizes

RATE_TARGET: Final = 800


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Send a backlog to a receiver that responds at once, with one dispatcher, then with two."""
    load = sizes.deliveries
    async with webhook_scene(rig, load.tenants) as scene:
        rates, notes = [], []
        for dispatchers in (1, 2):
            rate, note = await _send_all(scene, load, dispatchers)
            rates.append(rate)
            notes.append(note)
    one, two = rates
    return [
        Figure("deliveries, one dispatcher", one, "/s", RATE_TARGET, at_least=True, note=notes[0]),
        Figure(
            "deliveries, two dispatchers", two, "/s", 1, at_least=True, baseline=one, note=notes[1]
        ),
    ]


async def _send_all(
    scene: WebhookScene, load: DeliverySizes, dispatchers: int
) -> tuple[float, str]:
    before = await scene.receivers.arrivals(scene.rig.stores.home)
    urls = [origin(n % load.origins, scene.receivers.prompt) for n in range(load.deliveries)]
    owners = [scene.tenants[n % load.tenants] for n in range(load.deliveries)]
    # A dispatcher that runs begins at once; one that starts later still finds most of them.
    if dispatchers == 1:
        await scene.fill(owners, urls)
    await scene.start_dispatcher(dispatchers)
    pids = scene.rig.pids
    used = cpu_by_name(pids)
    if dispatchers > 1:
        await scene.fill(owners, urls)
    await scene.receivers.until(len(before) + load.deliveries, PATIENCE_SECONDS)
    spent = {name: seconds - used[name] for name, seconds in cpu_by_name(pids).items()}
    after = await scene.receivers.arrivals(scene.rig.stores.home)
    moments = sorted(moment for one, moment in after.items() if one not in before)
    begun = load.deliveries // 10  # statements are planned, code is warm
    rate = (len(moments) - begun) / (moments[-1] - moments[begun - 1])
    each = {name: seconds / load.deliveries * MILLISECONDS for name, seconds in spent.items()}
    costs = ", ".join(f"{name} {cost:.2f}" for name, cost in each.items() if cost >= 0.01)
    note = f"{load.deliveries:,} of {load.tenants} tenants to {load.origins} origins"
    return rate, f"{note}; CPU ms each: {costs}"
