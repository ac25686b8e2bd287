"""`python -m tests.simulation`: print how close the etas of every scene were."""

import argparse
from collections.abc import Sequence
from statistics import quantiles

from rich.console import Console

from tests.simulation.asking import Answer, ask_all, estimate, share_close, whole_queue
from tests.simulation.scenarios import SCENES

SEED = 1


def line(name: str, answers: list[Answer]) -> str:
    """Return a row: shares of etas within 30 % of the truth, and quantiles of their ratio."""
    stood = share_close([(each.eta, each.as_things_stood) for each in answers])
    ended = share_close([(each.eta, each.in_the_end) for each in answers])
    ratios = quantiles((each.eta / each.as_things_stood for each in answers), n=20)
    low, middle, high = ratios[0], ratios[9], ratios[18]
    return (
        f"{name:<42}{len(answers):>6}{stood:>10.1%}{ended:>10.1%}"
        f"{low:>8.2f}{middle:>6.2f}{high:>6.2f}"
    )


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    made.add_argument("--every", type=int, default=1, help="ask for one job in so many")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every scene with both estimates and print a table."""
    every = parser().parse_args(arguments).every
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{'scene':<42}{'jobs':>6}{'stood':>10}{'ended':>10}{'p5':>8}{'p50':>6}{'p95':>6}"
    )
    for scene in SCENES:
        for name, how in ((scene.name, estimate), ("  by everyone's queue", whole_queue)):
            answers = ask_all(scene.world(SEED), how, every=every)
            console.print(line(name, answers), markup=False)


if __name__ == "__main__":
    main()
