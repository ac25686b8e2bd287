import json

import pytest

from api.body.receiving.structure import MAX_FIELDS
from api.errors.api_error import BodyTooLargeError, MalformedBodyError, UnsupportedMediaTypeError
from tests.support.bodies import parsed
from tests.support.requests import make_request

FORM = "application/x-www-form-urlencoded"
LIMIT = 10_000


async def read(body: bytes, content_type: str = "application/json") -> dict[str, object]:
    async with parsed(make_request(body, content_type=content_type), LIMIT) as fields:
        return fields


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"


MULTIPART_ERROR = "The multipart body cannot be read:"
MULTIPART = "multipart/form-data; boundary=edge"


async def test_json_is_read_from_several_chunks() -> None:
    request = make_request(b'{"a": 1, ', b'"b": null}', content_type="application/json; charset=x")
    async with parsed(request) as fields:
        assert fields == {"a": 1, "b": None}


@pytest.mark.parametrize("body", [b"", b"  \n"])
async def test_no_body_means_no_fields(body: bytes) -> None:
    assert await read(body) == {}


async def test_no_content_type_means_json() -> None:
    async with parsed(make_request(b'{"a": 1}')) as fields:
        assert fields == {"a": 1}


async def test_the_last_of_two_entries_is_used() -> None:
    assert await read(b'{"a": 1, "a": 2}') == {"a": 2}
    assert await read(b"a=1&a=2", FORM) == {"a": "2"}


async def test_a_form_is_read() -> None:
    assert await read("prompt=a+c%C3%A4t&x=é&empty=".encode(), FORM) == {
        "prompt": "a cät",
        "x": "é",
        "empty": "",
    }


@pytest.mark.parametrize("before", [b"", b"\n  "])
async def test_json_sent_with_the_form_content_type_is_read(before: bytes) -> None:
    assert await read(before + b'{"a": "b&c=d"}', FORM) == {"a": "b&c=d"}


async def test_a_multipart_body_is_read_as_text_and_files() -> None:
    body = multipart(
        b'Content-Disposition: form-data; name="prompt"\r\n\r\n' + "a cät".encode(),
        b'Content-Disposition: form-data; name="init_image"; filename="a.png"\r\n\r\n\x89PNG\xff',
    )
    assert await read(body, MULTIPART) == {"prompt": "a cät", "init_image": b"\x89PNG\xff"}


async def test_an_empty_multipart_body_means_no_fields() -> None:
    assert await read(b"", MULTIPART) == {}


@pytest.mark.parametrize(
    ("body", "content_type", "tip"),
    [
        (b"[1]", "application/json", "The body must be a JSON object: { … }."),
        (b'"text"', "application/json", "The body must be a JSON object: { … }."),
        (b"a=\xff", FORM, "The form is not UTF-8 text."),
        (b"a=%FF", FORM, "The form is not UTF-8 text."),
        (b"a=1&" * (MAX_FIELDS + 1), FORM, f"The form has more than {MAX_FIELDS} fields."),
        (
            b"x",
            "multipart/form-data",
            f"{MULTIPART_ERROR} its content type names no usable boundary.",
        ),
        (
            b"x",
            MULTIPART,
            f"{MULTIPART_ERROR} it does not contain the boundary that its content type names.",
        ),
        (
            multipart(b'Content-Disposition: form-data; name="a"\r\n\r\n1')[:-4],
            MULTIPART,
            "The multipart body ends early: it has no closing boundary.",
        ),
    ],
)
async def test_a_malformed_body_is_rejected_with_the_reason(
    body: bytes, content_type: str, tip: str
) -> None:
    with pytest.raises(MalformedBodyError) as caught:
        await read(body, content_type)
    assert caught.value.message == tip


@pytest.mark.parametrize("content_type", ["text/html", "application/xml", "application/jsonx"])
async def test_other_content_types_are_rejected(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        await read(b"{}", content_type)


@pytest.mark.parametrize(
    "body", [b'{"a": 1}', b'\xef\xbb\xbf \r\n{"a": 1}', b" " * 9_000 + b'{"a": 1}']
)
async def test_plain_text_that_begins_like_json_is_json(body: bytes) -> None:
    assert await read(body, "text/plain; charset=iso-8859-1") == {"a": 1}
    assert await read(b" \n", "text/plain") == {}


@pytest.mark.parametrize("body", [b"a=1", b"[1]", b"hello", b'"a"'])
async def test_other_plain_text_is_rejected(body: bytes) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        await read(body, "text/plain")


async def test_a_body_declared_too_large_is_not_read() -> None:
    with pytest.raises(BodyTooLargeError):
        async with parsed(make_request(content_length=str(LIMIT + 1)), LIMIT):
            pass


async def test_a_body_too_large_is_cut_off_whatever_was_declared() -> None:
    chunks = [b"x" * 1000] * 11
    with pytest.raises(BodyTooLargeError):
        async with parsed(make_request(*chunks, content_type="application/json"), LIMIT):
            pass


async def test_a_body_of_the_largest_size_is_read() -> None:
    body = json.dumps({"a": ""}).encode()
    body = json.dumps({"a": "x" * (LIMIT - len(body))}).encode()
    assert len(body) == LIMIT
    assert list(await read(body)) == ["a"]


async def test_a_caller_that_disconnects_has_a_malformed_body() -> None:
    with pytest.raises(MalformedBodyError):
        async with parsed(make_request(content_type="application/json"), LIMIT):
            pass
