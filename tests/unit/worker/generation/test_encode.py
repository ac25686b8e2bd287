"""Only pixels go out."""

from io import BytesIO

from PIL import Image, PngImagePlugin

from tests.unit.worker.generation.pictures import encoded, noise, same
from tests.unit.worker.generation.test_colour import srgb_profile
from worker.generation.decode import decode_image
from worker.generation.encode import encode_png


def test_pixels_survive() -> None:
    assert same(decode_image(encode_png(noise()), "init_image"), noise())


def test_nothing_else_of_the_input_gets_out() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    data = encoded(noise(), pnginfo=text, exif=exif, icc_profile=srgb_profile(), dpi=(300, 300))
    written = encode_png(decode_image(data, "init_image"))
    with Image.open(BytesIO(written)) as image:
        assert image.info == {}
    assert written == encode_png(noise())
