"""Images and requests for tests."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from common.domain.generation import Endpoint, GenerationRequest
from tests.support.generation_request import generation_request

MODEL_OF = {
    Endpoint.INPAINT: "standin-inpainting",
    Endpoint.IMG2IMG: "standin",
    Endpoint.TEXT2IMG: "standin",
}


def a_request(endpoint: Endpoint, **changes: Any) -> GenerationRequest:
    """Return a small request for a stand-in model, with some fields changed."""
    small = {"width": 64, "height": 64, "samples": 1, "inference_steps": 2}
    return generation_request(
        **{"endpoint": endpoint, "model": MODEL_OF[endpoint], **small, **changes}
    )


def noise(size: tuple[int, int] = (64, 64), seed: int = 0) -> Image.Image:
    """Return random pixels, which no lossy codec or resampling leaves unchanged."""
    generate = np.random.default_rng(seed)
    return Image.fromarray(generate.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def disc(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Return a mask with a white disc on black."""
    mask = Image.new("L", size, 0)
    width, height = size
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes()
