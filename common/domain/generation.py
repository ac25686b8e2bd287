"""What is to be drawn: the request both the gateway and the engine understand."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self

from common.domain.schedulers import find_scheduler

SEED_LIMIT = 2**32
PIXELS_PER_MEGAPIXEL = 1_000_000


class Endpoint(StrEnum):
    """The three ways to ask for images."""

    INPAINT = "inpaint"
    IMG2IMG = "img2img"
    TEXT2IMG = "text2img"


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request, fully resolved: nothing is left to default or to chance.

    `width` and `height` are pixels, `seed` is the first image's seed (image `i` uses
    `seed + i`, wrapping at 2³²), `scheduler` is a name out of `common.domain.schedulers`, and None
    means the model's own.

    The mask is changed in this order: `mask_invert` repaints what is black in place of what is
    white, `mask_grow` widens (or, below 0, narrows) what is repainted by so many pixels,
    `mask_blur` softens its edge by a Gaussian of that radius in pixels. With `mask_padding` only
    the mask's bounding box and so many pixels around it are worked on, enlarged to the full
    size, and put back; None works on the whole picture.
    """

    endpoint: Endpoint
    model: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    samples: int
    inference_steps: int
    guidance_scale: float
    strength: float
    seed: int
    safety_checker: bool = False
    scheduler: str | None = None
    mask_invert: bool = False
    mask_grow: int = 0
    mask_blur: int = 0
    mask_padding: int | None = None

    @property
    def seeds(self) -> list[int]:
        """One seed per image."""
        return [(self.seed + index) % SEED_LIMIT for index in range(self.samples)]

    @property
    def cost(self) -> float:
        """Work in megapixel-steps: width × height / 10⁶ × steps × samples.

        Doubled for a scheduler that asks the model twice in each step.
        """
        # Divided last: whole numbers until then, so that the sums of a ledger come out even.
        pixel_steps = self.width * self.height * self.inference_steps * self.samples
        return pixel_steps * self._evaluations / PIXELS_PER_MEGAPIXEL

    @property
    def _evaluations(self) -> int:
        entry = None if self.scheduler is None else find_scheduler(self.scheduler)
        return 1 if entry is None else entry.evaluations

    def to_json(self) -> dict[str, Any]:
        """Return the form stored with the job."""
        # Every submit does this, and `asdict` copies each value deeply: ten times the work.
        return {name: getattr(self, name) for name in _NAMES}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Read the form stored with the job."""
        return cls(**{**stored, "endpoint": Endpoint(stored["endpoint"])})


_NAMES: Final = tuple(field.name for field in fields(GenerationRequest))
