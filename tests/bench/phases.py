"""The phases of `make bench`: what each measures, and how one of them is run."""

import asyncio
import logging
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import structlog

from tests.bench.figures import Figure
from tests.bench.rig.stack import Rig, open_rig, open_stores
from tests.bench.sizes import Sizes

MEASURE: Final = "tests.bench.measure"


@dataclass(frozen=True, slots=True)
class Phase:
    """Measurements made together: `modules` of `tests.bench.measure`, one after another.

    With `on_stack` they share servers and processes of their own, a `Rig`.
    """

    summary: str
    modules: tuple[str, ...]
    on_stack: bool = True

    async def measure(self, sizes: Sizes, rig: Rig | None = None) -> list[Figure]:
        """Return the figures of all modules; a phase on a stack needs `rig`."""
        figures: list[Figure] = []
        for name in self.modules:
            # Imported here: few phases need torch, and reading the table needs none of them.
            module = import_module(f"{MEASURE}.{name}")
            figures += await (
                module.measure(rig, sizes) if self.on_stack else module.measure(sizes)
            )
        return figures


PHASES: Final = {
    "requests": Phase("requests accepted and jobs fetched per second", ("request_rate",)),
    "jobs": Phase("latency of a job alone; CPU of an idle stack", ("job_latency", "idle_cpu")),
    "costs": Phase("CPU time of a job outside generation", ("job_cpu",)),
    "images": Phase(
        "CPU time to decode, encode and mask images",
        ("images.decoding", "images.encoding", "images.masks"),
        on_stack=False,
    ),
    "scale": Phase("claim, fetch and finish with millions of ended jobs", ("table_size",)),
    "sharing": Phase("claims and fairness with 10,000 tenants waiting", ("fair_sharing",)),
    "neighbours": Phase(
        "latency beside a tenant with silent image hosts or slow images", ("slow_neighbours",)
    ),
    "outage": Phase(
        "jobs during an outage of the object store, with and without a restart of the worker",
        ("outages.object_store",),
    ),
    "deliveries": Phase("webhooks sent per second", ("delivery_rate",)),
    "hanging": Phase("webhooks beside thousands that hang", ("hanging_receivers",)),
    "backlog": Phase("webhooks beside a million pending of one dead origin", ("dead_origin",)),
    "hostile": Phase(
        "a healthy client beside a thousand hostile connections", ("hostile_clients",)
    ),
    "isolation": Phase("response times for what another tenant owns", ("timing_isolation",)),
    "optimizations": Phase(
        "CPU time of a denoising step with each optimization", ("optimizations",), on_stack=False
    ),
}


def run_phase(name: str, sizes: Sizes) -> list[Figure]:
    """Measure one phase; called in a process of its own, because it exports settings."""
    # What starts and stops is of no interest here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    return asyncio.run(_run(PHASES[name], sizes))


async def _run(phase: Phase, sizes: Sizes) -> list[Figure]:
    if not phase.on_stack:
        return await phase.measure(sizes)
    with tempfile.TemporaryDirectory(prefix="infill-bench-") as home:
        async with open_stores(Path(home)) as stores, open_rig(stores) as rig:
            return await phase.measure(sizes, rig)
