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
def asked(request: pytest.FixtureRequest) -> Task:
    return random_task(np.random.default_rng(request.param), 96)


def test_what_was_drawn_as_asked_is_seen_so(asked: Task) -> None:
    drawn = paint(replace(asked.scene, thing=asked.requested), 96)
    seen = observe(drawn, asked)
    assert (seen.colour, seen.shape) == (asked.requested.colour, asked.requested.shape)
    assert seen.background_error < 0.01
    assert share_of_colour(drawn, asked.requested.colour, asked.hole) > 0.1


def test_an_empty_hole_is_seen_empty(asked: Task) -> None:
    seen = observe(paint(asked.scene.without_thing(), 96), asked)
    assert (seen.colour, seen.shape) == (None, None)


def test_a_background_that_breaks_off_is_measured(asked: Task) -> None:
    drawn = paint(asked.scene.without_thing(), 96)
    drawn[asked.hole] = np.clip(drawn[asked.hole] * 0.9 + 2, 0, 255)
    assert observe(drawn, asked).background_error > 0.004


def test_a_soft_outline_is_not_taken_for_background() -> None:
    """The hole is cut close about the thing, so that its outline lies at the hole's edge."""
    rng = np.random.default_rng(4)
    while (asked := random_task(rng, 256)).scene.background.pattern != "plain":
        pass
    drawn = paint(replace(asked.scene, thing=asked.requested), 256)
    image = Image.fromarray(drawn.astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.BoxBlur(2)), dtype=np.float32)
    covered = cover(asked.requested.shape, asked.requested.place, 256) > 0
    close = replace(asked, hole=_grown(covered, 4))
    assert 0 < observe(soft, close).background_error < 0.01


def _grown(bitmap: Bitmap, by: int) -> Bitmap:
    steps = range(-by, by + 1)
    shifted = [np.roll(bitmap, (down, right), (0, 1)) for down in steps for right in steps]
    grown: Bitmap = np.any(shifted, axis=0)
    return grown
