"""What is kept of the init image."""

from PIL import Image


def keep_outside_mask(generated: Image.Image, init: Image.Image, mask: Image.Image) -> Image.Image:
    """Put `init` back wherever `mask` is black; grey blends in proportion, white is repainted.

    The model itself cannot keep pixels: even untouched ones pass through its autoencoder.
    """
    return Image.composite(generated, init, mask)
