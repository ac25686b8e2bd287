"""The measure of the promises, put to painters whose pictures are known."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from worker.training.measuring.quality import SEED, Measurement, measure, write_measurements
from worker.training.measuring.tasks import Task, random_task
from worker.training.scenes.shapes import SHAPES
from worker.training.scenes.world import COLOURS, Pixels, Thing, paint

SIZE, SCENES = 96, 6


@dataclass(frozen=True)
class Asked:
    """One picture that is asked for, with the settings of the whole call."""

    prompt: str
    refused: str
    task: Task
    noise: torch.Generator
    settings: dict[str, Any]


class Pipeline:
    """Takes what a pipeline takes, and knows the tasks by their pictures."""

    def __init__(self, paint: Callable[[Asked], Pixels]) -> None:
        rngs = (np.random.default_rng((SEED, SIZE, index)) for index in range(SCENES))
        self._tasks = {_seen(each): each for each in (random_task(rng, SIZE) for rng in rngs)}
        self._paint = paint

    def __call__(
        self,
        prompt: Sequence[str],
        image: Sequence[Image.Image],
        generator: Sequence[torch.Generator],
        negative_prompt: Sequence[str] | None = None,
        **settings: Any,
    ) -> SimpleNamespace:
        refused = negative_prompt or [""] * len(prompt)
        drawn = [
            self._paint(Asked(said, other, self._tasks[before.tobytes()], noise, settings))
            for said, other, before, noise in zip(prompt, refused, image, generator, strict=True)
        ]
        return SimpleNamespace(images=[each / 255 for each in drawn])


def as_told(asked: Asked) -> Pixels:
    """Do what a perfect model would: paint what was asked for, and heed every setting."""
    task, words = asked.task, asked.prompt.split()
    taken = {task.scene.background.colour, asked.refused}
    free = [name for name in (task.requested.colour, *COLOURS) if name not in taken]
    colour = words[1] if words[1] in COLOURS else free[0]
    thing = Thing(next(shape for shape in SHAPES if shape in words), colour, task.requested.place)
    heard = asked.settings["guidance_scale"] > 1
    painted = paint(replace(task.scene, thing=thing if heard else None), SIZE)
    strength = asked.settings["strength"]
    grain = torch.rand(SIZE, SIZE, 1, generator=asked.noise).numpy() * 20 - 10
    filled = np.clip(painted * strength + task.image * (1 - strength) + grain, 0, 255)
    return np.where(task.hole[..., None], filled, task.image).astype(np.float32)


def as_it_was(asked: Asked) -> Pixels:
    """Give the picture back."""
    return asked.task.image


def _seen(task: Task) -> bytes:
    return Image.fromarray(task.image.astype(np.uint8)).tobytes()


def measured(paint: Callable[[Asked], Pixels]) -> list[Measurement]:
    return measure(Pipeline(paint), SCENES, SCENES, SIZE)


def test_a_painter_that_does_as_told_keeps_every_promise() -> None:
    assert [each.name for each in measured(as_told) if not each.passed] == []


def test_one_that_gives_pictures_back_breaks_all_that_are_not_kept_by_idling() -> None:
    kept = {each.name for each in measured(as_it_was) if each.passed}
    assert {name.split()[0] for name in kept} <= {"background", "the", "seconds"}


def test_what_was_found_is_kept_for_the_card(tmp_path: Path) -> None:
    file = tmp_path / "quality-96.json"
    write_measurements(
        file, [Measurement("colour as asked", 0.98765, "at least 0.90", passed=True)]
    )
    assert json.loads(file.read_text()) == [
        {"name": "colour as asked", "value": 0.9877, "required": "at least 0.90"}
    ]
