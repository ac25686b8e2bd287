"""Measurements of the small model on new scenes: `python -m worker.training measure`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from common.runtime.clock import monotonic
from worker.training.measuring.seeing import Seen, look, share_of_colour
from worker.training.measuring.tasks import STEPS, Task, fill, task
from worker.training.scenes.world import Pixels

# Trainings count their scenes from their own seed; these are others.
SEED: Final = 987_654
_TIMED: Final = 3


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing promised: what was found, and whether it is enough."""

    name: str
    found: float
    asked: str
    kept: bool


def measure(pipeline: Any, scenes: int, few: int, size: int) -> list[Promise]:
    """Draw `scenes` prompts at `size` pixels, and `few` of them again with other settings."""
    tasks = [task(np.random.default_rng((SEED, size, index)), size) for index in range(scenes)]
    drawn = fill(pipeline, tasks)
    return [
        *_adherence(tasks, [look(each, one) for each, one in zip(drawn, tasks, strict=True)]),
        *_settings(pipeline, tasks[:few], drawn[:few]),
        _speed(pipeline, tasks[0]),
    ]


def _adherence(tasks: Sequence[Task], seen: Sequence[Seen]) -> list[Promise]:
    pairs = list(zip(seen, tasks, strict=True))
    colour = float(np.mean([one.colour == each.asked.colour for one, each in pairs]))
    shape = float(np.mean([one.shape == each.asked.shape for one, each in pairs]))
    off = float(np.mean([one.off for one in seen]))
    return [
        Promise("colour as asked", colour, "at least 0.90", colour >= 0.9),
        Promise("shape as asked", shape, "at least 0.75", shape >= 0.75),
        Promise("background off at the hole's edge", off, "at most 0.06", off <= 0.06),
    ]


def _settings(pipeline: Any, tasks: Sequence[Task], drawn: Sequence[Pixels]) -> list[Promise]:
    def again(**options: Any) -> list[Pixels]:
        return fill(pipeline, tasks, **options)

    def adherence(pictures: Sequence[Pixels]) -> float:
        return _mean(share_of_colour, pictures, tasks)

    low, high = adherence(again(guidance_scale=1.0)), adherence(drawn)
    shapes = [f"a {each.asked.shape}" for each in tasks]
    colours = [each.asked.colour for each in tasks]
    plain = adherence(fill(pipeline, tasks, shapes))
    refused = adherence(
        [
            fill(pipeline, [each], [shape], negative_prompt=colour)[0]
            for each, shape, colour in zip(tasks, shapes, colours, strict=True)
        ]
    )
    near, far = (_moved(tasks, again(strength=strength)) for strength in (0.3, 0.9))
    others = fill(pipeline, [replace(each, seed=each.seed + 1) for each in tasks])
    different = float(
        np.mean([np.abs(one - two).max() > 8 for one, two in zip(drawn, others, strict=True)])
    )
    # Not beside `drawn`, where other pictures kept them company: sums are rounded otherwise there.
    same = float(np.mean([(a == b).all() for a, b in zip(again(), again(), strict=True)]))
    return [
        Promise("more of the colour with guidance", high - low, "above 0", high > low),
        Promise(
            "less of the colour with it as negative prompt",
            plain - refused,
            "above 0",
            plain > refused,
        ),
        Promise(
            "nearer to the picture at strength 0.3 than at 0.9", far - near, "above 0", far > near
        ),
        Promise("different with another seed", different, "1", different == 1),
        Promise("the same with the same seed", same, "1", same == 1),
    ]


def _mean(
    share: Callable[[Pixels, str, Any], float], pictures: Sequence[Pixels], tasks: Sequence[Task]
) -> float:
    found = [
        share(one, each.asked.colour, each.hole) for one, each in zip(pictures, tasks, strict=True)
    ]
    return float(np.mean(found))


def _moved(tasks: Sequence[Task], drawn: Sequence[Pixels]) -> float:
    """Give how far the holes' pixels are from those of the pictures, 0 to 1."""
    ways = [np.abs(one - each.picture)[each.hole] for one, each in zip(drawn, tasks, strict=True)]
    return float(np.mean([way.mean() for way in ways]) / 255)


def _speed(pipeline: Any, one: Task) -> Promise:
    times = []
    for _ in range(_TIMED):
        started = monotonic()
        fill(pipeline, [one])
        times.append(monotonic() - started)
    threads = torch.get_num_threads()
    name = f"seconds for {STEPS} steps at {len(one.hole)} × {len(one.hole)}, {threads} threads"
    return Promise(name, min(times), "at most 1.5", min(times) <= 1.5)


def kept_in(file: Path, promises: Sequence[Promise]) -> None:
    """Write `promises` to `file` for the model card."""
    rows = [
        {"promise": each.name, "found": round(each.found, 4), "asked": each.asked}
        for each in promises
    ]
    file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
