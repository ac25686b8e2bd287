"""The mask that the caller means: what they sent, with the changes they asked for."""

from PIL import Image, ImageChops, ImageFilter

from common.domain.generation import GenerationRequest
from worker.engine.masks.growing import grow_mask


def edit_mask(mask: Image.Image, request: GenerationRequest) -> Image.Image:
    """Invert, grow and blur `mask`, in this order, as `request` asks; a mask unchanged is itself.

    The blur is Pillow's Gaussian, with its radius as standard deviation, by three box filters: it
    reaches three radii and no farther, and leaves what is all white or all black as it was.
    """
    if request.mask_invert:
        mask = ImageChops.invert(mask)
    mask = grow_mask(mask, request.mask_grow)
    if request.mask_blur:
        mask = mask.filter(ImageFilter.GaussianBlur(request.mask_blur))
    return mask
