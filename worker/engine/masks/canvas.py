"""Conversion between a request's images and the model's, in both directions."""

from dataclasses import dataclass
from typing import Self

from PIL import Image

from common.domain.generation import GenerationRequest
from worker.engine.images.inputs import InputImages
from worker.engine.masks.crop import Box, box_around, crop_and_resize, full_box
from worker.engine.masks.editing import edit_mask
from worker.engine.masks.model_mask import model_mask


@dataclass(frozen=True, slots=True)
class _Original:
    """What a result is composed from besides the generated image, at the request's size."""

    init: Image.Image
    mask: Image.Image
    box: Box


@dataclass(frozen=True, slots=True)
class Canvas:
    """The images the model works on, and how its output becomes the result.

    `init` (RGB) and `mask` (L) are the model's input, each of the request's width × height; None
    where the endpoint has none. Immutable, so threads may share it.
    """

    init: Image.Image | None
    mask: Image.Image | None
    _original: _Original | None = None

    @classmethod
    def of(cls, request: GenerationRequest, inputs: InputImages) -> Self:
        """Prepare the model's input for `request` from `inputs`, each of its width × height.

        The model gets the inputs unchanged if the request has no mask options, except for the
        greys of a soft mask: see `model_mask`.
        """
        if inputs.init is None or inputs.mask is None:
            return cls(inputs.init, inputs.mask)
        mask = edit_mask(inputs.mask, request)
        box = box_around(mask, request.mask_padding)
        return cls(
            crop_and_resize(inputs.init, box, Image.Resampling.LANCZOS),
            model_mask(crop_and_resize(mask, box, Image.Resampling.BILINEAR)),
            _Original(inputs.init, mask, box),
        )

    def finish(self, generated: Image.Image) -> Image.Image:
        """Compose the result (RGB, width × height) from the image the model `generated`.

        Pixels outside the mask are the caller's own, bit for bit.
        """
        if self._original is None:
            return generated
        return _keep_outside_mask(
            generated, self._original.init, self._original.mask, self._original.box
        )


def _keep_outside_mask(
    generated: Image.Image, init: Image.Image, mask: Image.Image, box: Box
) -> Image.Image:
    """Paste `generated` into `box` of `init` through `mask`; grey values blend in proportion.

    Where `mask` is black, and outside `box`, every pixel is that of `init`. The model cannot keep
    pixels itself: even unmasked ones pass through its autoencoder.
    """
    if box != full_box(init):
        left, upper, right, lower = box
        generated = generated.resize((right - left, lower - upper), Image.Resampling.LANCZOS)
        mask = mask.crop(box)
    composed = init.copy()
    composed.paste(generated, box, mask)
    return composed
