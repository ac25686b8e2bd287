"""What is kept of the init image."""

from PIL import Image

from worker.engine.masks.crop import Box, full_box


def keep_outside_mask(
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
    answer = init.copy()
    answer.paste(generated, box, mask)
    return answer
