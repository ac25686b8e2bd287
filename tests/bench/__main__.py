"""`make bench`: every figure beside its baseline of the same run, as a table and as JSON.

Exits with 1 if a figure misses its target.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from tests.bench.figures import Figure, as_json, table
from tests.bench.phases import PHASES, run_phase
from tests.bench.sizes import FULL, TINY

JSON_PATH = Path(".infill/bench.json")


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser, whose help lists every phase."""
    width = max(map(len, PHASES))
    phases = "\n".join(f"  {name:<{width}}  {phase.summary}" for name, phase in PHASES.items())
    made = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog=f"phases:\n{phases}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("phases", nargs="*", metavar="phase", help="what to measure; all if none")
    made.add_argument(
        "--tiny", action="store_true", help="smallest sizes: shows that it runs, measures nothing"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the phases that were asked for, each in a process of its own."""
    commands = parser()
    asked = commands.parse_args(arguments)
    if unknown := set(asked.phases) - PHASES.keys():
        commands.error(f"unknown phases: {', '.join(sorted(unknown))}")
    console = Console(highlight=False, soft_wrap=True)
    figures: list[Figure] = []
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for name in asked.phases or PHASES:
            console.print(f"measuring {name} …")
            sizes = TINY if asked.tiny else FULL
            figures += processes.submit(run_phase, name, sizes).result()
    console.print(table(figures), markup=False)
    JSON_PATH.parent.mkdir(exist_ok=True)
    JSON_PATH.write_text(as_json(figures))
    console.print(f"\nas JSON, also in {JSON_PATH}:")
    console.print(as_json(figures), markup=False)
    sys.exit(not all(figure.reached for figure in figures))


if __name__ == "__main__":
    main()
