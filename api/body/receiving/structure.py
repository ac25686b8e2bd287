"""Limits on the structure of a body, counted on its bytes while it arrives."""

from typing import Final, Protocol

from api.body.receiving.headers import BodyFormat
from api.errors.api_error import MalformedBodyError

# Far more than the API has; a body with a million fields is an attack. Characters inside of
# strings count too: base64 contains none of them.
MAX_FIELDS: Final = 200
MAX_BRACKETS: Final = 1_000
MAX_SEPARATORS: Final = 20_000
MAX_QUOTES: Final = 20_000
UTF8_BOM: Final = b"\xef\xbb\xbf"
BLANKS: Final = b" \t\r\n\f\v"


class StructureLimits(Protocol):
    """Counter of a body's structure."""

    def feed(self, chunk: bytes) -> None:
        """Count the structure in a chunk.

        Raises:
            MalformedBodyError: the body contains more than is allowed; the message names the limit.
        """


class _JsonLimits:
    def __init__(self) -> None:
        self._brackets = self._separators = self._quotes = 0

    def feed(self, chunk: bytes) -> None:
        self._brackets += chunk.count(b"[") + chunk.count(b"{")
        self._separators += chunk.count(b",") + chunk.count(b":")
        self._quotes += chunk.count(b'"')
        if self._brackets > MAX_BRACKETS:
            raise MalformedBodyError(
                f"The JSON has more than {MAX_BRACKETS} opening brackets ([ and {{)."
            )
        if self._separators > MAX_SEPARATORS:
            raise MalformedBodyError(f"The JSON has more than {MAX_SEPARATORS} commas and colons.")
        if self._quotes > MAX_QUOTES:
            raise MalformedBodyError(f"The JSON has more than {MAX_QUOTES} quotation marks.")


class _FormLimits:
    """Counter of form fields, or of JSON if the body is JSON that is declared as a form."""

    def __init__(self) -> None:
        self._json: _JsonLimits | None = None
        self._is_decided = False
        self._fields = 1

    def feed(self, chunk: bytes) -> None:
        if not self._is_decided and (text := chunk.lstrip(BLANKS + UTF8_BOM)):
            self._is_decided = True
            self._json = _JsonLimits() if text.startswith(b"{") else None
        if self._json is not None:
            self._json.feed(chunk)
            return
        self._fields += chunk.count(b"&")
        if self._fields > MAX_FIELDS:
            raise MalformedBodyError(f"The form has more than {MAX_FIELDS} fields.")


class _NoLimits:
    """No limits: the parts of a multipart body are counted by its parser."""

    def feed(self, chunk: bytes) -> None:
        """Accept every chunk."""


def limits_for(body_format: BodyFormat) -> StructureLimits:
    """Return a new counter for one body of the given format."""
    match body_format:
        case BodyFormat.JSON:
            return _JsonLimits()
        case BodyFormat.FORM:
            return _FormLimits()
        case BodyFormat.MULTIPART:
            return _NoLimits()
