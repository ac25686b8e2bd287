"""The quality measurements on fake pipelines whose results are known."""

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
class PipelineCall:
    """One image of a pipeline call, with the settings of the whole call."""

    prompt: str
    negative: str
    task: Task
    noise: torch.Generator
    settings: dict[str, Any]


class Pipeline:
    """A fake pipeline that recognises the tasks by their images."""

    def __init__(self, paint: Callable[[PipelineCall], Pixels]) -> None:
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
        negative = negative_prompt or [""] * len(prompt)
        images = [
            self._paint(PipelineCall(text, other, self._tasks[before.tobytes()], noise, settings))
            for text, other, before, noise in zip(prompt, negative, image, generator, strict=True)
        ]
        return SimpleNamespace(images=[each / 255 for each in images])


def perfect_model(call: PipelineCall) -> Pixels:
    """Paint what a perfect model would: the requested thing, with every setting respected."""
    task, words = call.task, call.prompt.split()
    avoided = {task.scene.background.colour, call.negative}
    free = [name for name in (task.requested.colour, *COLOURS) if name not in avoided]
    colour = words[1] if words[1] in COLOURS else free[0]
    thing = Thing(next(shape for shape in SHAPES if shape in words), colour, task.requested.place)
    has_guidance = call.settings["guidance_scale"] > 1
    painted = paint(replace(task.scene, thing=thing if has_guidance else None), SIZE)
    strength = call.settings["strength"]
    grain = torch.rand(SIZE, SIZE, 1, generator=call.noise).numpy() * 20 - 10
    filled = np.clip(painted * strength + task.image * (1 - strength) + grain, 0, 255)
    return np.where(task.hole[..., None], filled, task.image).astype(np.float32)


def identity_model(call: PipelineCall) -> Pixels:
    """Return the image unchanged."""
    return call.task.image


def _seen(task: Task) -> bytes:
    return Image.fromarray(task.image.astype(np.uint8)).tobytes()


def measured(paint: Callable[[PipelineCall], Pixels]) -> list[Measurement]:
    return measure(Pipeline(paint), SCENES, SCENES, SIZE)


def test_a_perfect_model_passes_every_measurement() -> None:
    assert [each.name for each in measured(perfect_model) if not each.passed] == []


def test_an_identity_model_fails_all_measurements_that_need_a_change() -> None:
    kept = {each.name for each in measured(identity_model) if each.passed}
    assert {name.split()[0] for name in kept} <= {"background", "the", "seconds"}


def test_measurements_are_written_for_the_card(tmp_path: Path) -> None:
    file = tmp_path / "quality-96.json"
    write_measurements(
        file, [Measurement("colour as asked", 0.98765, "at least 0.90", passed=True)]
    )
    assert json.loads(file.read_text()) == [
        {"name": "colour as asked", "value": 0.9877, "required": "at least 0.90"}
    ]
