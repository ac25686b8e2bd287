"""What is measured together, on one stack."""

import asyncio
import logging
import tempfile
from pathlib import Path

import structlog

from deploy.local.stack import dispatcher_process, worker_process
from tests.bench.figures import Figure
from tests.bench.measure.dead_origin import measure_backlog
from tests.bench.measure.delivery_rate import measure_delivering, measure_hanging
from tests.bench.measure.fair_sharing import measure_sharing
from tests.bench.measure.idle_cpu import measure_idling
from tests.bench.measure.images.decoding import measure_decoding
from tests.bench.measure.images.encoding import measure_encoding
from tests.bench.measure.images.masks import measure_masking
from tests.bench.measure.job_cpu import measure_costs
from tests.bench.measure.job_latency import measure_journeys
from tests.bench.measure.optimizations import measure_tuning
from tests.bench.measure.request_rate import measure_accepting
from tests.bench.measure.table_size import measure_scale
from tests.bench.measure.timing_isolation import measure_isolation
from tests.bench.rig.stack import open_rig


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
