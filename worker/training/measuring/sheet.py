"""Contact sheets of example images: original, hole and result, one column for each prompt."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from worker.training.measuring.tasks import Task
from worker.training.scenes.world import Pixels

_LINE = 14  # pixels for a prompt


def draw_sheet(
    tasks: Sequence[Task], images: Sequence[Pixels], file: Path, columns: int = 8
) -> None:
    """Write a contact sheet to the image `file`: each task's prompt, original, hole and result.

    `images` are the results of `tasks`, in order; `columns` is the number of tasks in a row.
    """
    rows = [
        _row(tasks[start : start + columns], images[start : start + columns])
        for start in range(0, len(tasks), columns)
    ]
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, optimize=True)


def _row(tasks: Sequence[Task], images: Sequence[Pixels]) -> Image.Image:
    size = len(images[0])
    row = Image.new("RGB", (size * len(tasks), 3 * size + _LINE), "white")
    draw = ImageDraw.Draw(row)
    for column, (task, image) in enumerate(zip(tasks, images, strict=True)):
        left = column * size
        draw.text((left + 2, 1), task.prompt, fill="black")
        holed = np.where(task.hole[..., None], np.float32(127), task.image)
        for line, pixels in enumerate((task.image, holed, image)):
            cell = Image.fromarray(pixels.astype(np.uint8))
            row.paste(cell, (left, _LINE + line * size))
    return row
