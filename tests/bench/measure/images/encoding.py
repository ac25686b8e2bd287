"""What it costs in CPU time to make the stored file of an image that was drawn."""

from collections.abc import Callable
from io import BytesIO
from statistics import median
from time import process_time

import numpy as np
from PIL import Image

from deploy.local.sample_server import SAMPLES
from tests.bench.figures import Figure
from tests.bench.measure.images.decoding import MILLISECONDS, SIDE, photograph
from tests.unit.worker.engine.sample_images import encoded, noise
from worker.engine.images.encode import encode_png

ROUNDS = 15
LARGE = 1024
TARGET = 0.8  # of Pillow's time; what is nearly flat gains least


def soft_shapes() -> Image.Image:
    """Give what a photograph is without its grain: what drawn pictures lie between."""
    spots = np.random.default_rng(1).integers(0, 256, (SIDE // 16, SIDE // 16, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def drawn() -> dict[str, Image.Image]:
    """Give the images, by what they are."""
    with Image.open(BytesIO((SAMPLES / "bench.png").read_bytes())) as sample:
        demo = sample.convert("RGB")
    return {
        "a grainy photograph": photograph(),
        "a grainy photograph, four times as large": photograph(LARGE),
        "soft shapes": soft_shapes(),
        "noise, as a stand-in draws": noise((SIDE, SIDE)),
        "the demo's picture": demo,
    }


def measure_encoding() -> list[Figure]:
    """Encode each image as the worker does and as Pillow does, in turn."""
    return [_figure(name, image) for name, image in drawn().items()]


def pillows(image: Image.Image) -> bytes:
    return encoded(image, compress_level=1)


def _figure(name: str, image: Image.Image) -> Figure:
    rounds = [(_taken(encode_png, image), _taken(pillows, image)) for _ in range(ROUNDS)]
    ours, theirs = (median(times) for times in zip(*rounds, strict=True))
    kilobytes = {encode: len(encode(image)) / 1000 for encode in (encode_png, pillows)}
    return Figure(
        name=f"CPU to encode {name}",
        value=ours,
        unit="ms",
        target=TARGET,
        at_least=False,
        baseline=theirs,
        note=f"{image.width} × {image.height} pixels to {kilobytes[encode_png]:.0f} kB of PNG; the "
        f"baseline is Pillow at level 1, to {kilobytes[pillows]:.0f} kB; each the median of "
        f"{ROUNDS} in turn",
    )


def _taken(encode: Callable[[Image.Image], bytes], image: Image.Image) -> float:
    begun = process_time()
    encode(image)
    return (process_time() - begun) * MILLISECONDS
