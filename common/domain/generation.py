"""The generation request: validated by the gateway, stored with the job, executed by the engine."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self

from common.domain.schedulers import find_scheduler

SEED_LIMIT = 2**32
PIXELS_PER_MEGAPIXEL = 1_000_000


class ImageFormat(StrEnum):
    """A file format of generated images; the value is the file extension."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        """The media type of the format."""
        return f"image/{self}"


class Endpoint(StrEnum):
    """The three kinds of generation, named after the HTTP endpoints."""

    INPAINT = "inpaint"
    IMG2IMG = "img2img"
    TEXT2IMG = "text2img"


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A validated generation request, with every default resolved and the seed chosen.

    `width` and `height` are in pixels. `seed` is the seed of the first image; image `i` uses
    `seed + i`, wrapping at 2³². `scheduler` is a name from `common.domain.schedulers`, or None for
    the model's own scheduler. `revision` is the configured revision of the model's weights, or
    None; it is recorded for the caller, and does not select anything.

    The mask options are applied in this order: `mask_invert` repaints the black area instead of the
    white one; `mask_grow` grows the repainted area by that number of pixels, or shrinks it if
    negative; `mask_blur` blurs the edge of the area with a Gaussian of that radius in pixels. If
    `mask_padding` is set, the mask's bounding box, extended by that number of pixels, is cropped,
    enlarged to the full size, generated, and pasted back; if None, the whole image is generated.

    `output_quality`, from 0 to 100, is the quality of JPEG and WebP files.
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
    revision: str | None = None
    mask_invert: bool = False
    mask_grow: int = 0
    mask_blur: int = 0
    mask_padding: int | None = None
    output_format: ImageFormat = ImageFormat.PNG
    output_quality: int = 100

    @property
    def seeds(self) -> list[int]:
        """The seed of each image, in order."""
        return [(self.seed + index) % SEED_LIMIT for index in range(self.samples)]

    @property
    def cost(self) -> float:
        """Cost in megapixel-steps: width × height / 10⁶ × steps × samples × evaluations.

        Evaluations are the model evaluations per step: 1, or 2 for some schedulers.
        """
        # The division comes last: the product of integers is exact, so sums in the ledger agree.
        pixel_steps = self.width * self.height * self.inference_steps * self.samples
        return pixel_steps * self._evaluations / PIXELS_PER_MEGAPIXEL

    @property
    def _evaluations(self) -> int:
        entry = None if self.scheduler is None else find_scheduler(self.scheduler)
        return 1 if entry is None else entry.evaluations

    def to_json(self) -> dict[str, Any]:
        """Return the request as a JSON object for storage."""
        # Every submit does this, and `asdict` is ten times slower: it copies each value deeply.
        return {name: getattr(self, name) for name in _NAMES}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Return the request from the JSON object that `to_json` returned."""
        # Requests recorded by an earlier release have no format.
        output_format = ImageFormat(stored.get("output_format", ImageFormat.PNG))
        kinds = {"endpoint": Endpoint(stored["endpoint"]), "output_format": output_format}
        return cls(**{**stored, **kinds})


_NAMES: Final = tuple(field.name for field in fields(GenerationRequest))
