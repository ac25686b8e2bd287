"""Parse a received body as JSON, form-urlencoded or multipart into the same fields."""

from typing import Any

from api.body.formats.form_fields import parse_form
from api.body.formats.json_fields import parse_json
from api.body.formats.multipart_fields import parse_multipart
from api.body.receiving.headers import BodyFormat, BodyHeaders
from api.body.receiving.spool import SMALL_BYTES, Spool
from api.body.receiving.structure import BLANKS, UTF8_BOM
from api.errors.api_error import UnsupportedMediaTypeError

# Values by field name: of JSON; text of forms; bytes of an uploaded file; or a `LongValue`.
Fields = dict[str, Any]


def parse_fields(spool: Spool, headers: BodyHeaders) -> Fields:
    """Return the fields of the body in `spool`, by name.

    The values of a small body are in memory. Long values of a larger one stay in the spool.

    Raises:
        MalformedBodyError: the body cannot be parsed as its format.
        UnsupportedMediaTypeError: the body is declared as plain text, and is not a JSON object.
    """
    match headers.format:
        case BodyFormat.JSON:
            start = _read_start(spool) if headers.is_plain_text else b""
            if start and not start.startswith(b"{"):
                raise UnsupportedMediaTypeError(*BodyFormat)
            return parse_json(spool)
        case BodyFormat.FORM:
            # curl -d '{…}' declares a form; no name of a form field starts with a brace.
            return parse_json(spool) if _read_start(spool).startswith(b"{") else parse_form(spool)
        case BodyFormat.MULTIPART:
            return parse_multipart(spool, headers.boundary)


def _read_start(spool: Spool) -> bytes:
    return spool.read(0, SMALL_BYTES).lstrip(BLANKS + UTF8_BOM)
