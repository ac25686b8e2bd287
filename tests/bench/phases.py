"""What is measured together, on one stack."""

import asyncio
import logging
import tempfile
from pathlib import Path

import structlog

from deploy.local.stack import dispatcher_process, worker_process
from tests.bench.accepting import measure_accepting
from tests.bench.backlog import measure_backlog
from tests.bench.costing import measure_costs
from tests.bench.decoding import measure_decoding
from tests.bench.delivering import measure_delivering, measure_hanging
from tests.bench.encoding import measure_encoding
from tests.bench.figures import Figure
from tests.bench.idling import measure_idling
from tests.bench.isolation import measure_isolation
from tests.bench.journeys import measure_journeys
from tests.bench.masking import measure_masking
from tests.bench.rig import open_rig
from tests.bench.scaling import measure_scale
from tests.bench.sharing import measure_sharing
from tests.bench.tuning import measure_tuning


async def _requests(home: Path) -> list[Figure]:
    async with open_rig(home) as rig:
        gateway, bare = await rig.start_gateway(), await rig.start_baseline()
        return await measure_accepting(rig, gateway, bare)


async def _jobs(home: Path) -> list[Figure]:
    async with open_rig(home) as rig:
        gateway = await rig.start_gateway()
        await rig.supervisor.start(worker_process())
        await rig.supervisor.start(dispatcher_process())
        return await measure_journeys(rig, gateway) + await measure_idling(rig)


async def _costs(home: Path) -> list[Figure]:
    async with open_rig(home) as rig:
        gateway, bare = await rig.start_gateway(), await rig.start_baseline()
        await rig.supervisor.start(worker_process())
        await rig.supervisor.start(dispatcher_process())
        return await measure_costs(rig, gateway, bare)


async def _pictures(home: Path) -> list[Figure]:
    return await measure_decoding(home) + measure_encoding() + measure_masking()


async def _scale(home: Path) -> list[Figure]:
    async with open_rig(home) as rig:
        return await measure_scale(rig)


async def _sharing(home: Path) -> list[Figure]:
    async with open_rig(home) as rig:
        return await measure_sharing(rig)


async def _deliveries(home: Path) -> list[Figure]:
    async with open_rig(home) as rig:
        return await measure_delivering(rig, home)


async def _hanging(home: Path) -> list[Figure]:
    async with open_rig(home) as rig:
        return await measure_hanging(rig, home)


async def _backlog(home: Path) -> list[Figure]:
    async with open_rig(home) as rig:
        return await measure_backlog(rig, home)


async def _isolation(home: Path) -> list[Figure]:
    async with open_rig(home) as rig:
        return await measure_isolation(rig, await rig.start_gateway())


async def _tuning(home: Path) -> list[Figure]:
    return await measure_tuning(home)


def run_phase(phase: str) -> list[Figure]:
    """Measure on a stack of its own; called in a process of its own, whose settings it makes."""
    # What starts and stops is of no interest here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="infill-bench-") as home:
        return asyncio.run(PHASES[phase](Path(home)))


PHASES = {
    "requests": _requests,
    "jobs": _jobs,
    "costs": _costs,
    "pictures": _pictures,
    "scale": _scale,
    "sharing": _sharing,
    "deliveries": _deliveries,
    "hanging": _hanging,
    "backlog": _backlog,
    "isolation": _isolation,
    "tuning": _tuning,
}
