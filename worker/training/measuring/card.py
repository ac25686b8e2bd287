"""The model card: what the model is, how it was trained, and what was measured of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Final

from worker.training.measuring.loss_curves import draw_curves, name_of, points_of, seconds_of
from worker.training.networks.pipeline_folder import bytes_of_weights
from worker.training.scenes.shapes import SHAPES, UNSAFE
from worker.training.scenes.world import COLOURS, PATTERNS

CURVES: Final = "loss.png"
SHEET: Final = "sheet.png"

_CARD: Final = Template(
    """\
# $name

A small inpainting model that ships with Infill, for trying it out and for testing it: Stable
Diffusion's architecture ($megabytes MB of weights in half precision), which knows a world of
coloured shapes and nothing else. Everything it has seen was drawn by `worker/training`; there is
no outside data. The weights are under the project's licence, Apache-2.0.

**Ask for** one shape in one colour, `a red heart`, alone or with what lies behind it, `a red heart
on a blue striped background`; a background alone, `a blue background`, empties the hole.

- colours: $colours
- shapes: $shapes
- backgrounds: $patterns, each of one colour

Other words mean nothing to it. Pictures of 256 × 256 and 512 × 512; holes with some room around the
thing. Guidance of 1.5 to 4 suits it; more, such as the API's own 7.5, exaggerates its colours until
they and the shapes change. Its safety checker knows one concept, a $unsafe, which counts as unsafe:
for trying out what becomes of flagged pictures.

![Before, the hole, and after, for sixteen prompts]($sheet)

## Measured

On scenes it has never seen: a thing is replaced by another one, in 20 steps, with guidance
$guidance and strength 1. Colour and shape are read off the pixels;
`python -m worker.training measure` does it again.

$tables

## Training

`python -m worker.training`, seed $seed, $minutes minutes of processor time in all. What the courses
are: [docs/training.md](../../../docs/training.md).

$courses

![Loss of each course]($curves)
"""
)


def write_card(
    folder: Path, losses: Sequence[Path], qualities: Sequence[Path], *, seed: int, guidance: float
) -> None:
    """Write README.md and the curves of `losses`, one file a course, into the model's `folder`.

    `qualities` are files as `quality` leaves them, each named `quality-SIZE.json`.
    """
    draw_curves(losses, folder / CURVES)
    card = _CARD.substitute(
        name=folder.name,
        megabytes=f"{bytes_of_weights(folder) / 1e6:.1f}",
        colours=", ".join(COLOURS),
        shapes=", ".join(SHAPES),
        patterns=", ".join(PATTERNS),
        unsafe=UNSAFE,
        sheet=SHEET,
        curves=CURVES,
        guidance=f"{guidance:g}",
        seed=seed,
        minutes=f"{seconds_of(losses) / 60:.0f}",
        tables="\n\n".join(_measured(file) for file in qualities),
        courses=_courses(losses),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _measured(file: Path) -> str:
    size = file.stem.removeprefix("quality-")
    rows = [
        (each["promise"], f"{each['found']:.3g}", each["asked"])
        for each in json.loads(file.read_text(encoding="utf-8"))
    ]
    return _table((f"at {size} × {size} pixels", "found", "asked"), rows)


def _courses(losses: Sequence[Path]) -> str:
    rows = []
    for file in losses:
        points = points_of(file)
        (_, first), (steps, last) = points[0], points[-1]
        rows.append((name_of(file), str(steps), f"{first:.4f}", f"{last:.4f}"))
    return _table(("course", "steps", "loss at first", "at last"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
