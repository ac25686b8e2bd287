from io import BytesIO

from PIL import Image

from worker.engine.images.side_by_side import side_by_side


def png(colour: str, mode: str = "RGB") -> bytes:
    kept = BytesIO()
    Image.new(mode, (20, 10), colour).save(kept, "PNG")
    return kept.getvalue()


def test_images_are_in_a_row_with_gaps() -> None:
    row = Image.open(BytesIO(side_by_side([png("red"), png("white", "L"), png("blue")])))
    assert row.size == (3 * 20 + 2 * 8, 10)
    seen = [row.getpixel((x, 5)) for x in (0, 19, 20, 28, 56, 75)]
    red, white, blue = (255, 0, 0), (255, 255, 255), (0, 0, 255)
    assert seen == [red, red, white, white, blue, blue]
