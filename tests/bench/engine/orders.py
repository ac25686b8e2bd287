"""The requests of a race, the same for every contestant."""

import random
from dataclasses import dataclass

from PIL import Image

from common.domain.generation import Endpoint, GenerationRequest
from tests.bench.engine.architectures import Architecture
from tests.unit.worker.engine.sample_images import disc, noise
from worker.engine.images.inputs import InputImages

MODEL = "raced"
PROMPTS = (
    "a red circle on a blue background",
    "a wooden bench under a tree",
    "a small boat on a quiet lake at dawn",
    "an old lighthouse above the sea",
)
NEGATIVE_PROMPT = "blurry, noisy"


@dataclass(frozen=True, slots=True)
class Order:
    """One request and its pictures."""

    request: GenerationRequest
    pixels: InputImages


def orders(architecture: Architecture, number: int, *, seed: int = 7) -> list[Order]:
    """Make `number` requests that differ in steps, strength, guidance, prompt and seed."""
    draw = random.Random(seed)
    size = (architecture.side, architecture.side)
    init, mask = noise(size).resize(size, Image.Resampling.BILINEAR), disc(size)
    return [
        Order(
            GenerationRequest(
                endpoint=Endpoint.INPAINT,
                model=MODEL,
                prompt=draw.choice(PROMPTS),
                negative_prompt=NEGATIVE_PROMPT,
                width=architecture.side,
                height=architecture.side,
                samples=1,
                inference_steps=draw.randint(*architecture.steps),
                guidance_scale=draw.choice((5.0, 7.5, 9.0)),
                strength=draw.choice((0.8, 1.0)),
                seed=draw.randrange(2**32),
            ),
            InputImages(init, mask),
        )
        for _ in range(number)
    ]
