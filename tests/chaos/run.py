"""One run: load and faults together, then settling, then the checks."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from common.domain.errors import ConfigurationError
from common.runtime.clock import monotonic
from deploy.local.processes.readiness import wait_until_ready
from tests.chaos.faults.inject import NotInjectedError, inject
from tests.chaos.installation.world import World, open_world
from tests.chaos.judge.final_state import list_bucket, read_final_state, unsettled
from tests.chaos.judge.ledger import differences, read_ledger
from tests.chaos.judge.recovery import recoveries
from tests.chaos.judge.report import Outcome, outcome
from tests.chaos.judge.violations import find_violations
from tests.chaos.load.clients import Clients
from tests.chaos.load.orders import random_orders
from tests.chaos.plan import Plan

SETTLE_SECONDS = 180.0
AGEINGS = 3

Say = Callable[[str], None]


async def run(plan: Plan, home: Path, say: Say, broken: str = "") -> Outcome:
    """Run the plan on an installation of its own in the folder `home`."""
    say("starting the installation …")
    async with open_world(plan, home, broken) as world:
        begun = monotonic()
        clients = Clients(world)
        violations = await _load_and_faults(world, clients, say)
        say("settling …")
        violations += await _settle(world)
        state = await read_final_state(world)
    told, receiver = clients.told, world.receiver
    violations += find_violations(state, clients.sent, told, receiver.calls, receiver.unverified)
    took = monotonic() - begun
    return outcome(plan, took, state, told, receiver, recoveries(state, plan, told), violations)


async def _load_and_faults(world: World, clients: Clients, say: Say) -> list[str]:
    """Send orders and inject the faults; the last order is sent after the last fault."""
    violations: list[str] = []
    orders = random_orders(world.plan)
    over = asyncio.Event()

    def enough() -> bool:
        return over.is_set() and len(clients.sent) >= world.plan.jobs

    async with asyncio.TaskGroup() as group:
        group.create_task(clients.keep_sending(orders, enough))
        for number, kind in enumerate(world.plan.faults, 1):
            await asyncio.sleep(world.plan.gap_seconds * world.chance.uniform(0.5, 1.5))
            say(f"fault {number}, {kind}; {clients.accepted} orders accepted")
            try:
                await inject(world, kind)
            except NotInjectedError as error:
                violations.append(f"fault not injected: {error}")
        over.set()
        say("no more faults")
    return violations


async def _settle(world: World) -> list[str]:
    """Wait until all has ended and is reconciled; then age the objects until orphans are gone."""

    async def quiet() -> bool:
        return await unsettled(world) == 0

    async def accounted() -> bool:
        accounts = await read_ledger(world.ask)
        return not accounts.marks and not differences(accounts)

    async def swept() -> bool:
        state = await read_final_state(world)
        return not await asyncio.to_thread(list_bucket) - state.named

    patience = world.plan.swept_seconds
    unquiet = await _within(quiet, "jobs or deliveries have not ended", SETTLE_SECONDS)
    unquiet += await _within(
        accounted, "the sweeper has not reconciled the ledger and the counters", patience
    )
    unswept: list[str] = []
    for _ in range(AGEINGS):  # again for what a worker that had lost its claim stored meanwhile
        await _age_objects(world)
        unswept = await _within(swept, "orphans are not swept", patience)
        if not unswept:
            break
    return unquiet + unswept


async def _age_objects(world: World) -> None:
    """Make every object old; the server, which remembers what it has listed, is started anew."""
    await world.stores.s3.leave()
    for path in world.stores.s3_folder.rglob("*"):
        os.utime(path, (0, 0))
    await world.stores.s3.up()


async def _within(check: Callable[[], Awaitable[bool]], failure: str, seconds: float) -> list[str]:
    try:
        await wait_until_ready(check, failure, seconds)
    except ConfigurationError:
        return [f"{failure} after {seconds:.0f} s"]
    return []
