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
class RaceRequest:
    """One request and its images."""

    request: GenerationRequest
    images: InputImages


def race_requests(architecture: Architecture, number: int, *, seed: int = 7) -> list[RaceRequest]:
    """Return `number` requests that differ in steps, strength, guidance, prompt and seed."""
    chance = random.Random(seed)
    size = (architecture.side, architecture.side)
    init, mask = noise(size).resize(size, Image.Resampling.BILINEAR), disc(size)
    return [
        RaceRequest(
            GenerationRequest(
                endpoint=Endpoint.INPAINT,
                model=MODEL,
                prompt=chance.choice(PROMPTS),
                negative_prompt=NEGATIVE_PROMPT,
                width=architecture.side,
                height=architecture.side,
                samples=1,
                inference_steps=chance.randint(*architecture.steps),
                guidance_scale=chance.choice((5.0, 7.5, 9.0)),
                strength=chance.choice((0.8, 1.0)),
                seed=chance.randrange(2**32),
            ),
            InputImages(init, mask),
        )
        for _ in range(number)
    ]
