"""Read the images of a request: uploaded files, URLs, base64 text and `data:` URIs."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from api.body.formats.base64_images import decode_base64
from api.body.formats.form_fields import FormText
from api.body.receiving.spool import LongValue
from api.dialects.openai.errors import InvalidParameterError
from api.dialects.openai.image_header import ImageHeader, read_image_header
from common.domain.errors import AddressNotAllowedError
from common.outbound import Guard

_FORMS: Final = (
    "a PNG, JPEG or WebP file, an http or https URL with a public host, base64 text, or a data: URI"
)
_NOTHING: Final[tuple[Any, ...]] = (None, "", b"", [])
_UNTRIMMED: Final = 16  # characters before which a URL's scheme ends


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image of the request: a URL, or content with its header, which is None for a URL."""

    content: str | bytes | LongValue
    header: ImageHeader | None


class ImageReader:
    """Reader of the images in one request's fields."""

    def __init__(self, fields: dict[str, Any], guard: Guard, max_bytes: int) -> None:
        self._fields = fields
        self._guard = guard
        self._max_bytes = max_bytes

    def read_image(self) -> SourceImage:
        """Return the image to edit, from `image`, `image[]` or `images`.

        Raises:
            InvalidParameterError: there is none, there are several, or it cannot be used.
        """
        found: list[Any] = []
        for name in ("image", "image[]", "images"):
            value = self._fields.get(name)
            if value not in _NOTHING:
                found += value if isinstance(value, list) else [value]
        if not found:
            raise InvalidParameterError("image", "An image is required.", code="missing_parameter")
        if len(found) > 1:
            raise InvalidParameterError("image", "This service edits one image in a request.")
        return self._read("image", found[0])

    def read_mask(self, image: SourceImage) -> SourceImage | None:
        """Return the mask, or None without one; it must have the size of `image` and transparency.

        Raises:
            InvalidParameterError: the mask cannot be used.
        """
        value = self._fields.get("mask")
        if value in _NOTHING:
            return None
        mask = self._read("mask", value)
        header = mask.header
        if header is not None and not header.has_alpha:
            raise InvalidParameterError(
                "mask", "The mask must have transparent parts, which are repainted."
            )
        if header is not None and image.header is not None:
            ours, theirs = ((one.width, one.height) for one in (header, image.header))
            if ours != theirs:
                raise InvalidParameterError(
                    "mask",
                    f"The mask must have the size of the image, {theirs[0]}x{theirs[1]}; "
                    f"it is {ours[0]}x{ours[1]}.",
                )
        return mask

    def _read(self, name: str, value: Any) -> SourceImage:
        if isinstance(value, dict):  # of newer clients, as JSON
            if value.get("file_id"):
                raise InvalidParameterError(name, "This service does not store files: send a URL.")
            value = value.get("image_url")
            if isinstance(value, dict):
                value = value.get("url")
        if isinstance(value, str) and "://" in value.strip()[:_UNTRIMMED]:
            return SourceImage(self._check_url(name, value.strip()), None)
        content = self._decode(name, value)
        size = content.length if isinstance(content, LongValue) else len(content)
        if size > self._max_bytes:
            raise InvalidParameterError(
                name, f"The image is too large: at most {self._max_bytes} bytes are accepted."
            )
        file = content.open() if isinstance(content, LongValue) else BytesIO(content)
        header = read_image_header(file)
        if header is None or not header.width or not header.height:
            raise InvalidParameterError(name, f"The image must be {_FORMS}.", code="invalid_image")
        return SourceImage(content, header)

    def _check_url(self, name: str, url: str) -> str:
        try:
            self._guard.check(url, webhook=False)
        except AddressNotAllowedError as error:
            message = f"The image must be {_FORMS}: {error.message}."
            raise InvalidParameterError(name, message) from error
        return url

    def _decode(self, name: str, value: Any) -> bytes | LongValue:
        """Return the content of a file or of base64 text; leave a long value in its spool."""
        if isinstance(value, bytes) or (isinstance(value, LongValue) and value.is_file):
            return value
        try:
            if isinstance(value, LongValue):
                start = value.spool.size
                length = decode_base64(
                    value.blocks(), value.spool.append, max_bytes=self._max_bytes
                )
                return LongValue(value.spool, start, length, is_file=True)
            text = value.base64_text if isinstance(value, FormText) else value
            image = bytearray()
            decode_base64([text.encode()], image.extend, max_bytes=self._max_bytes)
            return bytes(image)
        except (AttributeError, ValueError) as error:  # no text, or no base64
            raise InvalidParameterError(name, f"The image must be {_FORMS}.") from error
