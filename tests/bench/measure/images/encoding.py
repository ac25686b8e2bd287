"""CPU time to encode a generated image as the file that is stored."""

from collections.abc import Callable
from io import BytesIO
from statistics import median
from time import process_time

import numpy as np
from PIL import Image

from deploy.local.sample_server import SAMPLES
from tests.bench.figures import Figure
from tests.bench.measure.images.decoding import MILLISECONDS, photograph
from tests.bench.sizes import ImageSizes, Sizes
from tests.unit.worker.engine.sample_images import encoded, noise
from worker.engine.images.encode import encode_png

TARGET = 0.8  # of Pillow's time; nearly flat images gain least


def soft_shapes(side: int) -> Image.Image:
    """Return a photograph without its grain; generated images lie between the two."""
    spots = np.random.default_rng(1).integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((side, side), Image.Resampling.BICUBIC)


def generated_images(sizes: ImageSizes) -> dict[str, Image.Image]:
    """Return the images, by their description."""
    with Image.open(BytesIO((SAMPLES / "bench.png").read_bytes())) as sample:
        demo = sample.convert("RGB")
    return {
        "a grainy photograph": photograph(sizes.side),
        "a grainy photograph, four times as large": photograph(sizes.large_side),
        "soft shapes": soft_shapes(sizes.side),
        "noise, as a stand-in generates": noise((sizes.side, sizes.side)),
        "the demo's image": demo,
    }


async def measure(sizes: Sizes) -> list[Figure]:
    """Encode each image as the worker does and as Pillow does, alternating."""
    rounds = sizes.images.encode_rounds
    images = generated_images(sizes.images)
    return [_figure(name, image, rounds) for name, image in images.items()]


def with_pillow(image: Image.Image) -> bytes:
    return encoded(image, compress_level=1)


def _figure(name: str, image: Image.Image, rounds: int) -> Figure:
    pairs = [(_taken(encode_png, image), _taken(with_pillow, image)) for _ in range(rounds)]
    ours, theirs = (median(times) for times in zip(*pairs, strict=True))
    kilobytes = {encode: len(encode(image)) / 1000 for encode in (encode_png, with_pillow)}
    return Figure(
        name=f"CPU to encode {name}",
        value=ours,
        unit="ms",
        target=TARGET,
        at_least=False,
        baseline=theirs,
        note=f"{image.width} × {image.height} pixels to {kilobytes[encode_png]:.0f} kB of PNG; the "
        f"baseline is Pillow at level 1, to {kilobytes[with_pillow]:.0f} kB; each the median of "
        f"{rounds}, alternating",
    )


def _taken(encode: Callable[[Image.Image], bytes], image: Image.Image) -> float:
    begun = process_time()
    encode(image)
    return (process_time() - begun) * MILLISECONDS
