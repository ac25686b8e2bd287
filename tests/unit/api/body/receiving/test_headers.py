import pytest
from starlette.datastructures import Headers

from api.body.receiving.headers import BodyFormat, read_body_headers, read_parameters
from api.errors.api_error import (
    BodyTooLargeError,
    MalformedBodyError,
    UnsupportedContentEncodingError,
    UnsupportedMediaTypeError,
)


def headers(**values: str) -> Headers:
    return Headers({name.replace("_", "-"): value for name, value in values.items()})


@pytest.mark.parametrize(
    ("content_type", "body_format"),
    [
        ("", BodyFormat.JSON),
        ("Application/JSON; charset=punycode", BodyFormat.JSON),
        ("application/x-www-form-urlencoded;charset=undefined", BodyFormat.FORM),
    ],
)
def test_the_format_is_read_and_a_charset_ignored(
    content_type: str, body_format: BodyFormat
) -> None:
    assert read_body_headers(headers(content_type=content_type), 10).format is body_format


def test_plain_text_may_be_json() -> None:
    found = read_body_headers(headers(content_type="Text/Plain;charset=UTF-8"), 10)
    assert (found.format, found.is_plain_text) == (BodyFormat.JSON, True)
    assert not read_body_headers(headers(), 10).is_plain_text


@pytest.mark.parametrize("content_type", ["text/html", "application/xml", "application/jsonx"])
def test_other_content_types_are_rejected(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        read_body_headers(headers(content_type=content_type), 10)


@pytest.mark.parametrize("encoding", ["", " ", "identity", "Identity"])
def test_an_uncompressed_body_is_read(encoding: str) -> None:
    assert not read_body_headers(headers(content_encoding=encoding), 10).is_gzip


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZIP "])
def test_a_gzip_body_is_recognized(encoding: str) -> None:
    assert read_body_headers(headers(content_encoding=encoding), 10).is_gzip


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd", "none"])
def test_other_content_encodings_are_rejected(encoding: str) -> None:
    with pytest.raises(UnsupportedContentEncodingError) as caught:
        read_body_headers(headers(content_encoding=encoding), 10)
    assert caught.value.headers == {"accept-encoding": "gzip, identity"}


def test_a_body_declared_too_large_is_rejected() -> None:
    with pytest.raises(BodyTooLargeError):
        read_body_headers(headers(content_length="11"), 10)


@pytest.mark.parametrize(
    ("parameters", "boundary"),
    [
        ("; boundary=edge", b"edge"),
        (';charset=punycode;BOUNDARY="an edge"', b"an edge"),
        ('; boundary="a\\"b" ; charset=undefined', b'a"b'),
    ],
)
def test_the_boundary_is_read(parameters: str, boundary: bytes) -> None:
    found = read_body_headers(headers(content_type=f"multipart/form-data{parameters}"), 10)
    assert found.boundary == boundary


@pytest.mark.parametrize(
    "parameters", ["", "; boundary=", '; boundary="', f"; boundary={'x' * 300}", "; boundary=\x7f"]
)
def test_a_missing_boundary_is_rejected(parameters: str) -> None:
    with pytest.raises(MalformedBodyError):
        read_body_headers(headers(content_type=f"multipart/form-data{parameters}"), 10)


def test_parameters_are_read() -> None:
    value = "form-data; name=\"a;b\"; filename=x y ; filename*=UTF-8''%e2%82%ac"
    assert read_parameters(value) == {
        "name": "a;b",
        "filename": "x y",
        "filename*": "UTF-8''%e2%82%ac",
    }
