"""Convert a request's images to the model's input, and of its output to the result."""

from dataclasses import dataclass
from typing import Final, Self

from PIL import Image

from common.domain.errors import InvalidImageError
from common.domain.generation import GenerationRequest
from worker.engine.images.inputs import InputImages
from worker.engine.masks.crop import Box, box_around, crop_and_resize, full_box
from worker.engine.masks.editing import edit_mask
from worker.engine.masks.model_mask import FAINT, model_mask

NOTHING_REPAINTED: Final = (
    "mask_image: the mask repaints nothing: once the mask options are applied, it is completely "
    "black, and only white is repainted; mask_invert swaps black and white"
)


@dataclass(frozen=True, slots=True)
class _Original:
    """The input image and mask that the generated image is pasted into, at the request's size.

    `box` is the part of the image that the model works on.
    """

    init: Image.Image
    mask: Image.Image
    box: Box


@dataclass(frozen=True, slots=True)
class Canvas:
    """The model's input images, and the originals for composing its output into the result.

    `init` (RGB) and `mask` (grey) are both of the request's width × height. A field is None if the
    endpoint does not take that image. A canvas is immutable, so threads may share it.
    """

    init: Image.Image | None
    mask: Image.Image | None
    _original: _Original | None = None

    @classmethod
    def of(cls, request: GenerationRequest, inputs: InputImages) -> Self:
        """Return the canvas for `request`, with the mask edits and the crop that it asks for.

        The images in `inputs` must have the request's width × height. If the request has no mask
        options, the model gets the images unchanged, except that a soft mask is made hard (see
        `model_mask`).

        Raises:
            InvalidImageError: the mask, after its edits, repaints nothing.
        """
        if inputs.init is None or inputs.mask is None:
            return cls(inputs.init, inputs.mask)
        mask = edit_mask(inputs.mask, request)
        if not any(mask.histogram()[FAINT:]):
            raise InvalidImageError(NOTHING_REPAINTED)
        box = box_around(mask, request.mask_padding)
        return cls(
            crop_and_resize(inputs.init, box, Image.Resampling.LANCZOS),
            model_mask(crop_and_resize(mask, box, Image.Resampling.BILINEAR)),
            _Original(inputs.init, mask, box),
        )

    def finish(self, generated: Image.Image) -> Image.Image:
        """Return the result (RGB, the request's size) composed from the model's output `generated`.

        Pixels outside the mask are bit for bit those of the input image.
        """
        if self._original is None:
            return generated
        return _keep_outside_mask(
            generated, self._original.init, self._original.mask, self._original.box
        )


def _keep_outside_mask(
    generated: Image.Image, init: Image.Image, mask: Image.Image, box: Box
) -> Image.Image:
    """Return `init` with `generated` pasted into `box` through `mask`; grey values blend the two.

    Where `mask` is black, and outside `box`, every pixel equals the pixel of `init`. The model
    itself cannot keep pixels exactly, because even unmasked pixels pass through its autoencoder.
    """
    if box != full_box(init):
        left, upper, right, lower = box
        generated = generated.resize((right - left, lower - upper), Image.Resampling.LANCZOS)
        mask = mask.crop(box)
    composed = init.copy()
    composed.paste(generated, box, mask)
    return composed
