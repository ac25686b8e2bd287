"""Between a request's pictures and the model's."""

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
    """What an answer is put together from besides what was generated, all of width × height."""

    init: Image.Image
    mask: Image.Image
    box: Box


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a request is drawn on: the pictures the model sees, and how its images become answers.

    `init` (RGB) and `mask` (L) are what the model sees, each width × height of the request, None
    where the endpoint has none. Nothing of it changes, so threads may share it.
    """

    init: Image.Image | None
    mask: Image.Image | None
    _original: _Original | None = None

    @classmethod
    def of(cls, request: GenerationRequest, inputs: InputImages) -> Self:
        """Prepare what `request` is drawn on from `inputs`, each width × height of it.

        A request that changes nothing about its mask has the model see `inputs` themselves, but
        for the greys of a soft mask: see `model_mask`.
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
        """Make the answer, RGB, of what the model drew on this canvas: RGB, width × height.

        What the mask keeps is the caller's own, bit for bit.
        """
        if self._original is None:
            return generated
        return _keep_outside_mask(
            generated, self._original.init, self._original.mask, self._original.box
        )


def _keep_outside_mask(
    generated: Image.Image, init: Image.Image, mask: Image.Image, box: Box
) -> Image.Image:
    """Put `generated` into `box` of `init` where `mask` is white; grey blends in proportion.

    Where `mask` is black, and outside `box`, every pixel is that of `init`. The model itself
    cannot keep pixels: even untouched ones pass through its autoencoder.
    """
    if box != full_box(init):
        left, upper, right, lower = box
        generated = generated.resize((right - left, lower - upper), Image.Resampling.LANCZOS)
        mask = mask.crop(box)
    composed = init.copy()
    composed.paste(generated, box, mask)
    return composed
