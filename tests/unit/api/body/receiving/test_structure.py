import pytest

from api.body.receiving.headers import BodyFormat
from api.body.receiving.structure import limits_for
from api.errors.api_error import MalformedBodyError

BRACKETS = "The JSON has more than 1000 opening brackets ([ and {)."
SEPARATORS = "The JSON has more than 20000 commas and colons."
QUOTES = "The JSON has more than 20000 quotation marks."
FIELDS = "The form has more than 200 fields."

# Body formats, bodies, and what is wrong with each.
TOO_MUCH = [
    (BodyFormat.JSON, b"[" * 1001, BRACKETS),
    (BodyFormat.JSON, b'{"a":[' + b"{}," * 1001, BRACKETS),
    (BodyFormat.JSON, b"[" + b"0," * 20_001, SEPARATORS),
    (BodyFormat.JSON, b'{"":' * 10 + b":" * 20_000, SEPARATORS),
    (BodyFormat.JSON, b'"" ' * 10_001, QUOTES),
    (BodyFormat.FORM, b"a=1&" * 201, FIELDS),
    (BodyFormat.FORM, b"&" * 200, FIELDS),
    (BodyFormat.FORM, b" \n\xef\xbb\xbf{" + b"[" * 1001, BRACKETS),
]
ALLOWED = [
    (BodyFormat.JSON, b"[" * 1000),
    (BodyFormat.JSON, b"[" + b"0," * 20_000),
    (BodyFormat.FORM, b"&" * 199),
    (BodyFormat.FORM, b'{"a": "' + b"&" * 1000),
    (BodyFormat.MULTIPART, b"[{,:" * 10_000),
]


def feed(body_format: BodyFormat, body: bytes, size: int) -> None:
    limits = limits_for(body_format)
    for at in range(0, len(body), size):
        limits.feed(body[at : at + size])


@pytest.mark.parametrize(("body_format", "body", "message"), TOO_MUCH)
@pytest.mark.parametrize("size", [1, 10, 100_000])
def test_too_much_structure_is_rejected_while_it_arrives(
    body_format: BodyFormat, body: bytes, message: str, size: int
) -> None:
    with pytest.raises(MalformedBodyError) as caught:
        feed(body_format, body, size)
    assert caught.value.message == message


@pytest.mark.parametrize(("body_format", "body"), ALLOWED)
def test_structure_within_the_limits_is_accepted(body_format: BodyFormat, body: bytes) -> None:
    feed(body_format, body, len(body))
