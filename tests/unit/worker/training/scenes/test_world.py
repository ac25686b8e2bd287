import numpy as np
import pytest

from worker.training.measuring.contours import shape_of
from worker.training.scenes.captions import WORDS, caption, short_caption
from worker.training.scenes.holes import KINDS, hole_around
from worker.training.scenes.shapes import SHAPES, Place, cover
from worker.training.scenes.world import Scene, paint, random_scene


def _scene(seed: int) -> Scene:
    return random_scene(np.random.default_rng(seed))


def test_a_seed_gives_the_same_scene_at_any_size() -> None:
    assert _scene(3) == _scene(3)
    assert _scene(3) != _scene(4)
    small, large = paint(_scene(3), 32), paint(_scene(3), 64)
    halved = large.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - halved).mean() < 4


def test_a_thing_never_has_its_background_s_colour() -> None:
    for scene in (_scene(seed) for seed in range(40)):
        assert scene.thing is not None
        assert scene.thing.colour != scene.background.colour


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_recognised_by_its_contour(shape: str) -> None:
    for turn in (-0.2, 0.0, 0.2):
        for radius in (0.15, 0.32):
            bitmap = cover(shape, Place(0.5, 0.45, radius, turn), 128) > 0.5
            assert shape_of(bitmap) == shape


def test_an_empty_bitmap_has_no_shape() -> None:
    assert shape_of(np.zeros((16, 16), dtype=bool)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_hole_holds_the_whole_shape(kind: str) -> None:
    place = Place(0.5, 0.5, 0.2, 0.1)
    hole = hole_around(np.random.default_rng(1), place, 64, kind=kind)
    assert not hole.all()
    # The corners of a square may come out of an ellipse, by less than a tenth of it.
    for shape in SHAPES:
        covered = cover(shape, place, 64) > 0.5
        assert (covered & ~hole).sum() <= 0.1 * covered.sum()


def test_captions_use_words_that_are_single_tokens() -> None:
    scene = _scene(5)
    assert scene.thing is not None
    rng = np.random.default_rng(2)
    for said in (short_caption(scene), *(caption(rng, scene, unrelated=0) for _ in range(50))):
        assert set(said.replace(",", "").split()) <= set(WORDS)
    assert short_caption(scene).split()[1:] == [scene.thing.colour, scene.thing.shape]
    behind = scene.without_thing()
    assert short_caption(behind).endswith("background")


def test_captions_vary_and_are_empty_more_often_for_empty_holes() -> None:
    scene, rng = _scene(5), np.random.default_rng(1)
    of_thing = [caption(rng, scene) for _ in range(200)]
    assert len(set(of_thing)) > 50
    of_nothing = [caption(rng, scene.without_thing()) for _ in range(200)]
    assert 0 < of_thing.count("") < of_nothing.count("") < 200
