"""CPU time to edit masks and composite results, and how soft mask edges blend."""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import process_time
from typing import Any

from PIL import Image, ImageDraw

from common.domain.generation import Endpoint
from tests.bench.figures import Figure
from tests.bench.measure.images.decoding import MILLISECONDS
from tests.bench.sizes import ImageSizes, Sizes
from tests.unit.worker.engine.masks.test_model_mask import repainted, share_at_the_rim
from tests.unit.worker.engine.sample_images import a_request, disc, noise
from worker.engine.images.inputs import InputImages
from worker.engine.masks.canvas import Canvas
from worker.engine.masks.editing import edit_mask
from worker.engine.masks.model_mask import model_mask

PERCENT = 100
TARGET_TO_PREPARE = 50
TARGET_TO_FINISH = 20
TARGET_AT_THE_RIM = 0.2  # of the share without widening


async def measure(sizes: Sizes) -> list[Figure]:
    """Prepare and finish requests of the largest size, with each mask option."""
    images = sizes.images
    full = disc((images.large_side, images.large_side))
    return [
        *_costs("no option", full, images),
        *_costs("mask_grow 64", full, images, mask_grow=64),
        *_costs("mask_blur 8", full, images, mask_blur=8),
        *_costs("mask_padding 32 around a small mask", _dot(images), images, mask_padding=32),
        *(_at_the_rim(radius, images) for radius in images.blur_radii),
    ]


def _dot(sizes: ImageSizes) -> Image.Image:
    """Return a mask with one disc of about a tenth of the width."""
    side = sizes.large_side
    mask = Image.new("L", (side, side))
    left, top, width = (round(part * side) for part in (0.68, 0.1, 0.1))
    ImageDraw.Draw(mask).ellipse((left, top, left + width, top + width), fill=255)
    return mask


def _costs(
    options: str, mask: Image.Image, sizes: ImageSizes, **changes: Any
) -> tuple[Figure, Figure]:
    side = sizes.large_side
    request = a_request(Endpoint.INPAINT, width=side, height=side, **changes)
    images, generated = InputImages(noise(mask.size), mask), noise(mask.size, seed=1)
    canvas = Canvas.of(request, images)
    prepare, finish = partial(Canvas.of, request, images), partial(canvas.finish, generated)
    return (
        _cost(f"prepare with {options}", TARGET_TO_PREPARE, prepare, sizes),
        _cost(f"finish with {options}", TARGET_TO_FINISH, finish, sizes),
    )


def _cost(what: str, target: float, work: Callable[[], object], sizes: ImageSizes) -> Figure:
    return Figure(
        name=f"CPU to {what}",
        value=median(_taken(work) for _ in range(sizes.mask_rounds)),
        unit="ms",
        target=target,
        at_least=False,
    )


def _taken(work: Callable[[], object]) -> float:
    begun = process_time()
    work()
    return (process_time() - begun) * MILLISECONDS


def _at_the_rim(radius: int, sizes: ImageSizes) -> Figure:
    hard = disc((sizes.large_side // 2, sizes.large_side // 2))
    soft = edit_mask(hard, a_request(Endpoint.INPAINT, mask_blur=radius))
    wide, half = repainted(model_mask(soft)), repainted(soft)
    area = repainted(hard).mean()
    return Figure(
        name=f"share of generated pixels at the edge of the repainted area, mask_blur {radius}",
        value=share_at_the_rim(wide, soft) * PERCENT,
        unit="%",
        target=TARGET_AT_THE_RIM,
        at_least=False,
        baseline=share_at_the_rim(half, soft) * PERCENT,
        note="the baseline gives the soft mask itself to the model, which repaints where it is at "
        f"least half white; repainted {wide.mean() / area:.2f} × the hard mask's area, the "
        f"baseline {half.mean() / area:.2f} ×",
    )
