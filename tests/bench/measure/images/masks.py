"""What editing a mask and putting images back costs in CPU time, and what a soft edge hides."""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import process_time
from typing import Any

from PIL import Image, ImageDraw

from common.domain.generation import Endpoint
from tests.bench.figures import Figure
from tests.bench.measure.images.decoding import MILLISECONDS
from tests.bench.measure.images.encoding import LARGE
from tests.unit.worker.engine.masks.test_model_mask import repainted, share_at_the_rim
from tests.unit.worker.engine.sample_images import a_request, disc, noise
from worker.engine.images.inputs import InputImages
from worker.engine.masks.canvas import Canvas
from worker.engine.masks.editing import edit_mask
from worker.engine.masks.model_mask import model_mask

ROUNDS = 9
PERCENT = 100
SIZE = (LARGE, LARGE)
TARGET_TO_PREPARE = 50
TARGET_TO_FINISH = 20
TARGET_AT_THE_RIM = 0.2  # of the share without widening


def measure_masking() -> list[Figure]:
    """Prepare and finish requests of the largest size, with each of the options."""
    return [
        *_costs("no option", disc(SIZE)),
        *_costs("mask_grow 64", disc(SIZE), mask_grow=64),
        *_costs("mask_blur 8", disc(SIZE), mask_blur=8),
        *_costs("mask_padding 32 around a small mask", _dot(), mask_padding=32),
        *(_at_the_rim(radius) for radius in (2, 4, 8, 16, 32, 64)),
    ]


def _dot() -> Image.Image:
    mask = Image.new("L", SIZE)
    ImageDraw.Draw(mask).ellipse((700, 100, 800, 200), fill=255)
    return mask


def _costs(options: str, mask: Image.Image, **changes: Any) -> tuple[Figure, Figure]:
    request = a_request(Endpoint.INPAINT, width=LARGE, height=LARGE, **changes)
    pixels, generated = InputImages(noise(SIZE), mask), noise(SIZE, seed=1)
    canvas = Canvas.of(request, pixels)
    return (
        _cost(f"prepare with {options}", TARGET_TO_PREPARE, partial(Canvas.of, request, pixels)),
        _cost(f"finish with {options}", TARGET_TO_FINISH, partial(canvas.finish, generated)),
    )


def _cost(what: str, target: float, work: Callable[[], object]) -> Figure:
    return Figure(
        name=f"CPU to {what}",
        value=median(_taken(work) for _ in range(ROUNDS)),
        unit="ms",
        target=target,
        at_least=False,
    )


def _taken(work: Callable[[], object]) -> float:
    begun = process_time()
    work()
    return (process_time() - begun) * MILLISECONDS


def _at_the_rim(radius: int) -> Figure:
    hard = disc((LARGE // 2, LARGE // 2))
    soft = edit_mask(hard, a_request(Endpoint.INPAINT, mask_blur=radius))
    wide, half = repainted(model_mask(soft)), repainted(soft)
    area = repainted(hard).mean()
    return Figure(
        name=f"new pixels' share where they end, mask_blur {radius}",
        value=share_at_the_rim(wide, soft) * PERCENT,
        unit="%",
        target=TARGET_AT_THE_RIM,
        at_least=False,
        baseline=share_at_the_rim(half, soft) * PERCENT,
        note="the baseline hands the model the soft mask itself, of which it repaints what is at "
        f"least half white; repainted {wide.mean() / area:.2f} × the hard mask's area, the "
        f"baseline {half.mean() / area:.2f} ×",
    )
