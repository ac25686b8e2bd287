"""A test run of a model: checks that it loads and generates an image for each endpoint."""

from pathlib import Path
from typing import Final

from PIL import Image

from common.domain.errors import InfillError
from common.domain.generation import Endpoint, GenerationRequest
from common.settings.catalogue import ModelEntry
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.images.inputs import InputImages

# Small and few: this checks that something is generated, not what.
SIDE: Final = 64
STEPS: Final = 2


def check_model(entry: ModelEntry, directory: Path, device: str | None) -> list[str]:
    """Load the model and generate a tiny image for each endpoint; return the problems found.

    Each problem is a sentence; an empty list means that the model works.
    """
    engine = DiffusersEngine([entry], directory, device)
    try:
        engine.load()
    except InfillError as error:
        return [error.message]
    found = (_problem_with(engine, entry, endpoint) for endpoint in entry.endpoints)
    return [problem for problem in found if problem]


def _problem_with(engine: DiffusersEngine, entry: ModelEntry, endpoint: Endpoint) -> str | None:
    request = GenerationRequest(
        endpoint=endpoint,
        model=entry.name,
        prompt="a cat on a chair",
        negative_prompt="",
        width=SIDE,
        height=SIDE,
        samples=1,
        inference_steps=STEPS,
        guidance_scale=7.5,
        strength=1.0,
        seed=1,
    )
    try:
        (image,) = engine.generate(request, _inputs(endpoint)).images
    except InfillError as error:
        reason = f" ({error.detail})" if error.detail else ""
        return f"model {entry.name}: {endpoint}: {error.message}{reason}"
    if len(image.getcolors(SIDE * SIDE) or ()) == 1:
        return (
            f"model {entry.name}: {endpoint}: the generated image has one colour; try another dtype"
        )
    return None


def _inputs(endpoint: Endpoint) -> InputImages:
    size = (SIDE, SIDE)
    init = None if endpoint is Endpoint.TEXT2IMG else Image.radial_gradient("L").resize(size)
    mask = Image.new("L", size, 255) if endpoint is Endpoint.INPAINT else None
    return InputImages(init and init.convert("RGB"), mask)
