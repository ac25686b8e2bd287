"""`make bench`: every figure beside its baseline of the same run, as a table and as JSON."""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from tests.bench.figures import Figure, as_json, table
from tests.bench.phases import PHASES, run_phase

JSON_PATH = Path(".infill/bench.json")


def main() -> None:
    console = Console(highlight=False, soft_wrap=True)
    figures: list[Figure] = []
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for phase in sys.argv[1:] or PHASES:
            console.print(f"measuring {phase} …")
            figures += processes.submit(run_phase, phase).result()
    console.print(table(figures), markup=False)
    JSON_PATH.parent.mkdir(exist_ok=True)
    JSON_PATH.write_text(as_json(figures))
    console.print(f"\nas JSON, also in {JSON_PATH}:")
    console.print(as_json(figures), markup=False)
    sys.exit(not all(figure.reached for figure in figures))


if __name__ == "__main__":
    main()
