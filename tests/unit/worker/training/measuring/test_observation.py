from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from worker.training.measuring.contours import Bitmap
from worker.training.measuring.observation import observe, share_of_colour
from worker.training.measuring.tasks import Task, random_task
from worker.training.scenes.shapes import cover
from worker.training.scenes.world import paint


@pytest.fixture(params=range(6))
def task(request: pytest.FixtureRequest) -> Task:
    return random_task(np.random.default_rng(request.param), 96)


def test_a_correct_image_is_recognised(task: Task) -> None:
    filled = paint(replace(task.scene, thing=task.requested), 96)
    observation = observe(filled, task)
    assert (observation.colour, observation.shape) == (task.requested.colour, task.requested.shape)
    assert observation.background_error < 0.01
    assert share_of_colour(filled, task.requested.colour, task.hole) > 0.1


def test_an_empty_hole_is_recognised(task: Task) -> None:
    observation = observe(paint(task.scene.without_thing(), 96), task)
    assert (observation.colour, observation.shape) == (None, None)


def test_a_wrong_background_is_measured(task: Task) -> None:
    filled = paint(task.scene.without_thing(), 96)
    filled[task.hole] = np.clip(filled[task.hole] * 0.9 + 2, 0, 255)
    assert observe(filled, task).background_error > 0.004


def test_a_soft_outline_is_not_taken_for_background() -> None:
    """The hole is cut close around the thing, so that its outline lies at the hole's edge."""
    rng = np.random.default_rng(4)
    while (task := random_task(rng, 256)).scene.background.pattern != "plain":
        pass
    filled = paint(replace(task.scene, thing=task.requested), 256)
    blurred = Image.fromarray(filled.astype(np.uint8))
    soft = np.asarray(blurred.filter(ImageFilter.BoxBlur(2)), dtype=np.float32)
    covered = cover(task.requested.shape, task.requested.place, 256) > 0
    close = replace(task, hole=_grown(covered, 4))
    assert 0 < observe(soft, close).background_error < 0.01


def _grown(bitmap: Bitmap, by: int) -> Bitmap:
    steps = range(-by, by + 1)
    shifted = [np.roll(bitmap, (down, right), (0, 1)) for down in steps for right in steps]
    grown: Bitmap = np.any(shifted, axis=0)
    return grown
