"""`python -m tests.simulation` prints how close the etas of every scene were."""

from statistics import quantiles

from rich.console import Console

from tests.simulation.asking import Answer, ask_all, estimate, share_close, whole_queue
from tests.simulation.scenarios import SCENES

SEED = 1


def line(name: str, answers: list[Answer]) -> str:
    """Tell the shares within 30 %, and how eta and truth are to each other."""
    stood = share_close([(each.eta, each.as_things_stood) for each in answers])
    ended = share_close([(each.eta, each.in_the_end) for each in answers])
    ratios = quantiles((each.eta / each.as_things_stood for each in answers), n=20)
    low, middle, high = ratios[0], ratios[9], ratios[18]
    return (
        f"{name:<42}{len(answers):>6}{stood:>10.1%}{ended:>10.1%}"
        f"{low:>8.2f}{middle:>6.2f}{high:>6.2f}"
    )


def main() -> None:
    """Print a table."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{'scene':<42}{'jobs':>6}{'stood':>10}{'ended':>10}{'p5':>8}{'p50':>6}{'p95':>6}"
    )
    for scene in SCENES:
        for name, how in ((scene.name, estimate), ("  by everyone's queue", whole_queue)):
            console.print(line(name, ask_all(scene.world(SEED), how)), markup=False)


main()
