"""`make bench-engine`: the engine against a plain pipeline, same run, same weights.

Exits with 1 if a figure misses its target.
"""

import argparse
import json
import logging
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import structlog
import torch
from diffusers.utils import logging as diffusers_logging
from rich.console import Console

from common.domain.generation import GenerationRequest
from common.runtime.clock import monotonic
from tests.bench import sizes as sizes_module
from tests.bench.engine.architectures import FULL, SMALL, Architecture, save
from tests.bench.engine.contestants import Contestant, Engine, Plain
from tests.bench.engine.race import Result, race
from tests.bench.engine.requests import RaceRequest, race_requests
from tests.bench.figures import Figure, table
from tests.bench.sizes import RaceSizes

JSON_PATH = Path(".infill/bench-engine.json")
END_TO_END_STEPS = 20


@dataclass(frozen=True, slots=True)
class Goal:
    """The promised ratio of the engine's images per second to the baseline's."""

    clients: int
    ratio: float


ON_CPU = (Goal(1, 0.97), Goal(2, 0.97), Goal(4, 1.3), Goal(8, 1.3))
ON_GPU = (Goal(1, 0.95), Goal(8, 1.8))


def main(arguments: Sequence[str] | None = None) -> None:
    """Race on the chosen device and print the figures."""
    console = Console(highlight=False, soft_wrap=True)
    options = _parser().parse_args(arguments)
    sizes = sizes_module.TINY.race if options.tiny else sizes_module.FULL.race
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    diffusers_logging.disable_progress_bar()
    on_gpu = options.device.startswith("cuda")
    architecture = _resized(FULL if on_gpu else SMALL, sizes)
    console.print(f"{_name_of(options.device)}\n{architecture.name}, {architecture.dtype}")
    with tempfile.TemporaryDirectory(prefix="infill-bench-") as place:
        folder = save(architecture, Path(place) / "model")
        results, figures = _measure(console, architecture, folder, options, sizes)
    console.print(_rows(results, sizes), markup=False)
    console.print(table(figures), markup=False)
    report = {
        "device": _name_of(options.device),
        "model": architecture.name,
        "threads": options.threads,
        "races": [asdict(result) for result in results],
        "figures": [asdict(figure) | {"ratio": figure.ratio} for figure in figures],
    }
    JSON_PATH.parent.mkdir(exist_ok=True)
    JSON_PATH.write_text(json.dumps(report, indent=2))
    console.print(f"\nas JSON, also in {JSON_PATH}:\n{json.dumps(report)}", markup=False)
    sys.exit(not all(figure.reached for figure in figures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engine", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--tiny", action="store_true", help="smallest sizes: shows that it runs, measures nothing"
    )
    return parser


def _resized(architecture: Architecture, sizes: RaceSizes) -> Architecture:
    """Return the architecture with the side and steps of `sizes`, where it has some."""
    return replace(
        architecture,
        side=sizes.side or architecture.side,
        steps=sizes.steps or architecture.steps,
    )


def _measure(
    console: Console,
    architecture: Architecture,
    folder: Path,
    options: argparse.Namespace,
    sizes: RaceSizes,
) -> tuple[list[Result], list[Figure]]:
    on_gpu = options.device.startswith("cuda")
    engine = Engine(architecture, folder, options.device, options.threads)
    contestants: dict[str, Contestant] = {
        "engine": engine,
        "pipeline": Plain(engine, options.threads),
    }
    if on_gpu:
        compiled = Engine(architecture, folder, options.device, options.threads, compile="regional")
        contestants |= {
            "engine compiled": compiled,
            "pipeline compiled": Plain(compiled, options.threads),
        }
    requests = race_requests(architecture, sizes.requests)
    for name, contestant in contestants.items():
        console.print(f"warming {name} …")
        race(name, contestant, requests[: max(sizes.clients)], max(sizes.clients))
    results = []
    for number in range(sizes.rounds):
        for clients in sizes.clients:
            console.print(f"round {number + 1} of {sizes.rounds}, {clients} at once …")
            for name, contestant in contestants.items():
                result = race(name, contestant, requests, clients)
                busy = contestant.busy if isinstance(contestant, Engine) else None
                results.append(replace(result, busy=busy))
    figures = _figures(results, sizes, on_gpu=on_gpu)
    if on_gpu:
        figures.append(_end_to_end(contestants["engine compiled"], requests[0]))
    return results, figures


def _figures(results: list[Result], sizes: RaceSizes, *, on_gpu: bool) -> list[Figure]:
    ours, theirs = ("engine compiled", "pipeline compiled") if on_gpu else ("engine", "pipeline")
    figures = []
    goals = [goal for goal in (ON_GPU if on_gpu else ON_CPU) if goal.clients in sizes.clients]
    for goal in goals:
        # On a GPU the goal is set against one request at a time.
        baseline = _of(results, theirs, 1 if on_gpu else goal.clients)
        measured = _of(results, ours, goal.clients)
        ratios = [
            one.images_per_second / other.images_per_second
            for one, other in zip(measured, baseline, strict=True)
        ]
        plain = median(result.images_per_second for result in baseline)
        figures.append(
            Figure(
                name=f"{goal.clients} at once",
                value=median(ratios) * plain,
                unit="images/s",
                target=goal.ratio,
                at_least=True,
                baseline=plain,
                note="ratios of the rounds: " + ", ".join(f"{ratio:.3f}" for ratio in ratios),
            )
        )
    return figures


def _end_to_end(contestant: Contestant, one: RaceRequest) -> Figure:
    request: GenerationRequest = replace(
        one.request, inference_steps=END_TO_END_STEPS, strength=1.0
    )
    seconds = median(
        _seconds(lambda: contestant.generate(replace(one, request=request))) for _ in range(5)
    )
    return Figure(
        f"{END_TO_END_STEPS} steps, alone, end to end", seconds, "s", target=0.45, at_least=False
    )


def _seconds(work: Callable[[], None]) -> float:
    started = monotonic()
    work()
    return monotonic() - started


def _of(results: list[Result], contestant: str, clients: int) -> list[Result]:
    return [
        result for result in results if (result.contestant, result.clients) == (contestant, clients)
    ]


def _rows(results: list[Result], sizes: RaceSizes) -> str:
    lines = ["at once  contestant         images/s    p50 s    p95 s   busy"]
    for clients in sizes.clients:
        for name in dict.fromkeys(result.contestant for result in results):
            mine = _of(results, name, clients)
            speed, p50, p95 = (
                median(getattr(result, field) for result in mine)
                for field in ("images_per_second", "p50", "p95")
            )
            known = [result.busy for result in mine if result.busy is not None]
            busy = f"{median(known):7.3f}" if known else "      –"
            lines.append(f"{clients:7}  {name:18} {speed:8.3f} {p50:8.3f} {p95:8.3f} {busy}")
    return "\n".join(["", *lines, ""])


def _name_of(device: str) -> str:
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"CPU: {platform.processor() or platform.machine()}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
