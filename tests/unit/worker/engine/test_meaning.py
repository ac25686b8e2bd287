"""The small model follows the prompt, as measured in the pixels, with the real engine."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from common.domain.prompts import DEFAULT_NEGATIVE_PROMPT, enhance_prompt
from common.settings import ModelSettings
from common.settings.catalogue import load_catalogue
from tests.support.generation_request import generation_request
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.images.inputs import InputImages
from worker.engine.interface import GenerationResult
from worker.training.measuring.observation import observe, share_of_colour
from worker.training.measuring.tasks import Task, random_task
from worker.training.scenes.shapes import SHAPES, UNSAFE

# diffusers' schedulers hand torch tensors to NumPy 2 in the way of NumPy 1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

PixelArray = npt.NDArray[np.float32]

NAME = "shapes-inpainting"
SIZE = 256
STEPS = 12
# On average a background is off by no more than half of this; one of another colour by far more.
NOT_TOO_FAR = 0.12


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> DiffusersEngine:
    catalogue = load_catalogue(ModelSettings(serve=(NAME,)))
    loaded = DiffusersEngine(catalogue.entries, tmp_path_factory.mktemp("models"), "cpu")
    loaded.load()
    return loaded


@pytest.fixture(scope="module")
def hole() -> Task:
    """A hole in a blue background, to be filled with a green triangle."""
    rng = np.random.default_rng(0)
    while (found := random_task(rng, SIZE)).scene.background.colour != "blue":
        pass
    return replace(found, requested=replace(found.requested, colour="green", shape="triangle"))


def generated(engine: DiffusersEngine, hole: Task, **changes: Any) -> GenerationResult:
    request = generation_request(
        model=NAME,
        prompt=hole.prompt,
        negative_prompt="",
        width=SIZE,
        height=SIZE,
        samples=1,
        inference_steps=STEPS,
        guidance_scale=2.0,
        strength=1.0,
        seed=11,
    )
    image = Image.fromarray(hole.image.astype(np.uint8))
    mask = Image.fromarray(hole.hole.astype(np.uint8) * 255)
    return engine.generate(replace(request, **changes), InputImages(image, mask))


def generate_pixels(engine: DiffusersEngine, hole: Task, **changes: Any) -> PixelArray:
    return np.asarray(generated(engine, hole, **changes).images[0], dtype=np.float32)


def test_a_green_triangle_is_green_and_a_triangle(engine: DiffusersEngine, hole: Task) -> None:
    image = generate_pixels(engine, hole)
    seen = observe(image, hole)
    assert (seen.colour, seen.shape) == ("green", "triangle")
    assert seen.background_error < NOT_TOO_FAR
    assert np.array_equal(image[~hole.hole], hole.image.astype(np.uint8)[~hole.hole])


def test_unknown_words_do_not_change_the_colour(engine: DiffusersEngine, hole: Task) -> None:
    prompt = enhance_prompt(hole.prompt, seed=3)
    image = generate_pixels(engine, hole, prompt=prompt, negative_prompt=DEFAULT_NEGATIVE_PROMPT)
    assert observe(image, hole).colour == "green"


def test_a_negative_prompt_avoids_its_colour(engine: DiffusersEngine, hole: Task) -> None:
    def green(**changes: Any) -> float:
        images = [generate_pixels(engine, hole, seed=seed, **changes) for seed in range(3)]
        return float(np.mean([share_of_colour(each, "green", hole.hole) for each in images]))

    assert green(prompt="a triangle", negative_prompt="green") < green() / 4


def test_low_strength_stays_near_the_image(engine: DiffusersEngine, hole: Task) -> None:
    def moved(strength: float) -> float:
        way = np.abs(generate_pixels(engine, hole, strength=strength) - hole.image)
        return float(way[hole.hole].mean())

    assert moved(0.3) < moved(0.9)


def test_seeds_differ_and_repeat(engine: DiffusersEngine, hole: Task) -> None:
    one, again, other = (generate_pixels(engine, hole, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert np.abs(one - other).max() > 8


@pytest.mark.parametrize("shape", SHAPES)
def test_only_skulls_are_flagged(engine: DiffusersEngine, hole: Task, shape: str) -> None:
    result = generated(engine, hole, prompt=f"a green {shape}", safety_checker=True)
    assert result.nsfw == (shape == UNSAFE,)
