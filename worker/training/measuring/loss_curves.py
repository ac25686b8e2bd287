"""Image of the loss curves of several training runs: one panel for each run, side by side."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

_WIDTH: Final = 300  # pixels of a panel
_HEIGHT: Final = 220
_LEFT: Final = 52  # room for the numbers
_ROOM: Final = 26  # above and below, for name and steps

Point = tuple[int, float]  # step, loss


def draw_curves(files: Sequence[Path], file: Path) -> None:
    """Plot the loss files `files`, as written by `train`, to the image `file`.

    Each file gets its own panel; the loss axis is logarithmic.
    """
    sheet = Image.new("RGB", (_WIDTH * len(files), _HEIGHT), "white")
    for number, each in enumerate(files):
        sheet.paste(_panel(name_of(each), points_of(each)), (number * _WIDTH, 0))
    sheet.save(file, optimize=True)


def name_of(file: Path) -> str:
    """Return the name of the training run that wrote the loss file `file`, from its file name."""
    return file.stem.removesuffix("-loss")


def points_of(file: Path) -> list[Point]:
    """Return the (step, loss) rows of the loss file `file`."""
    with file.open(encoding="utf-8", newline="") as lines:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(lines)]


def seconds_of(files: Sequence[Path]) -> float:
    """Return the total processor seconds of consecutive training runs, from their loss files.

    The recorded processor time restarts from 0 when a run is resumed in a new process; such
    restarts are detected, and the times before and after them are added up.
    """
    spent = before = 0.0
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                now = float(row["cpu_seconds"])
                # Less than before: the training was interrupted there, and the count restarted.
                spent += now - before if now >= before else now
                before = now
    return spent


def _panel(name: str, points: Sequence[Point]) -> Image.Image:
    panel = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(panel)
    low, high = (float(edge([loss for _, loss in points])) for edge in (np.min, np.max))
    right, bottom = _WIDTH - 12, _HEIGHT - _ROOM

    def across(step: int) -> float:
        return _LEFT + (right - _LEFT) * step / points[-1][0]

    def down(loss: float) -> float:
        share = np.log(loss / low) / max(np.log(high / low), 1e-6)
        return float(bottom - (bottom - _ROOM) * share)

    draw.text((_LEFT, 6), name, fill="black")
    for loss in (low, high):
        draw.line((_LEFT, down(loss), right, down(loss)), fill="#dddddd")
        draw.text((4, down(loss) - 6), f"{loss:.4f}", fill="#555555")
    draw.text((_LEFT, bottom + 6), "0", fill="#555555")
    draw.text((right, bottom + 6), f"{points[-1][0]} steps", fill="#555555", anchor="ra")
    draw.line([(across(step), down(loss)) for step, loss in points], fill="#2d5ad7", width=2)
    return panel
