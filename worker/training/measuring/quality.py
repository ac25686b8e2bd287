"""Quality measurements of the small demo model on scenes it was not trained on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from common.runtime.clock import monotonic
from worker.training.measuring.observation import Observation, observe, share_of_colour
from worker.training.measuring.tasks import STEPS, Task, fill, random_task
from worker.training.scenes.world import Pixels

# Different from the training's seed, so the scenes are different too.
SEED: Final = 987_654
_TIMED_RUNS: Final = 3


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured value, the requirement for it in words, and whether the requirement is met."""

    name: str
    value: float
    required: str
    passed: bool


def measure(pipeline: Any, scenes: int, few: int, size: int) -> list[Measurement]:
    """Return the quality measurements of `pipeline` on `scenes` random inpainting tasks.

    Images are `size` × `size` pixels. The first `few` tasks are repeated with different settings:
    guidance scale, negative prompt, strength and seed.
    """
    tasks = [
        random_task(np.random.default_rng((SEED, size, index)), size) for index in range(scenes)
    ]
    images = fill(pipeline, tasks)
    observations = [observe(image, task) for image, task in zip(images, tasks, strict=True)]
    return [
        *_measure_adherence(tasks, observations),
        *_measure_settings(pipeline, tasks[:few], images[:few]),
        _measure_speed(pipeline, tasks[0]),
    ]


def _measure_adherence(
    tasks: Sequence[Task], observations: Sequence[Observation]
) -> list[Measurement]:
    pairs = list(zip(observations, tasks, strict=True))
    colour = float(np.mean([seen.colour == task.requested.colour for seen, task in pairs]))
    shape = float(np.mean([seen.shape == task.requested.shape for seen, task in pairs]))
    error = float(np.mean([seen.background_error for seen in observations]))
    return [
        Measurement("colour as asked", colour, "at least 0.90", colour >= 0.9),
        Measurement("shape as asked", shape, "at least 0.75", shape >= 0.75),
        Measurement("background off at the hole's edge", error, "at most 0.06", error <= 0.06),
    ]


def _measure_settings(
    pipeline: Any, tasks: Sequence[Task], images: Sequence[Pixels]
) -> list[Measurement]:
    def again(**options: Any) -> list[Pixels]:
        return fill(pipeline, tasks, **options)

    low = _colour_share(again(guidance_scale=1.0), tasks)
    high = _colour_share(images, tasks)
    shapes = [f"a {task.requested.shape}" for task in tasks]
    plain = _colour_share(fill(pipeline, tasks, shapes), tasks)
    negative = [
        fill(pipeline, [task], [shape], negative_prompt=task.requested.colour)[0]
        for task, shape in zip(tasks, shapes, strict=True)
    ]
    avoided = _colour_share(negative, tasks)
    near, far = (_mean_change(tasks, again(strength=strength)) for strength in (0.3, 0.9))
    others = fill(pipeline, [replace(task, seed=task.seed + 1) for task in tasks])
    different = float(
        np.mean([np.abs(one - other).max() > 8 for one, other in zip(images, others, strict=True)])
    )
    # Not compared with `images`: those came from other batches, where sums are rounded differently.
    same = float(np.mean([(a == b).all() for a, b in zip(again(), again(), strict=True)]))
    return [
        Measurement("more of the colour with guidance", high - low, "above 0", high > low),
        Measurement(
            "less of the colour with it as negative prompt",
            plain - avoided,
            "above 0",
            plain > avoided,
        ),
        Measurement(
            "nearer to the image at strength 0.3 than at 0.9", far - near, "above 0", far > near
        ),
        Measurement("different with another seed", different, "1", different == 1),
        Measurement("the same with the same seed", same, "1", same == 1),
    ]


def _colour_share(images: Sequence[Pixels], tasks: Sequence[Task]) -> float:
    """Return the mean fraction (0 to 1) of pixels in the hole that have the requested colour."""
    pairs = zip(images, tasks, strict=True)
    shares = [share_of_colour(image, task.requested.colour, task.hole) for image, task in pairs]
    return float(np.mean(shares))


def _mean_change(tasks: Sequence[Task], images: Sequence[Pixels]) -> float:
    """Return the mean absolute difference between generated and original pixels in the holes.

    The difference is scaled to 0 to 1.
    """
    pairs = zip(images, tasks, strict=True)
    changes = [np.abs(image - task.image)[task.hole] for image, task in pairs]
    return float(np.mean([change.mean() for change in changes]) / 255)


def _measure_speed(pipeline: Any, task: Task) -> Measurement:
    times = []
    for _ in range(_TIMED_RUNS):
        started = monotonic()
        fill(pipeline, [task])
        times.append(monotonic() - started)
    threads, side = torch.get_num_threads(), len(task.hole)
    name = f"seconds for {STEPS} steps at {side} × {side}, {threads} threads"
    return Measurement(name, min(times), "at most 1.5", min(times) <= 1.5)


def write_measurements(file: Path, measurements: Sequence[Measurement]) -> None:
    """Write `measurements` to `file` as JSON, which `write_card` reads for the model card."""
    rows = [
        {"name": each.name, "value": round(each.value, 4), "required": each.required}
        for each in measurements
    ]
    file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
