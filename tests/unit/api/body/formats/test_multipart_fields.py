import pytest

from api.body.formats.multipart_fields import (
    LONG_BYTES,
    MAX_HEADER_BYTES,
    MAX_LOOKALIKES,
    parse_multipart,
)
from api.body.receiving.spool import BLOCK_BYTES, LongValue
from api.body.receiving.structure import MAX_FIELDS
from api.errors.api_error import MalformedBodyError
from tests.support.bodies import open_spool

A = b'Content-Disposition: form-data; name="a"\r\n\r\n'
FILE = (
    b'CONTENT-disposition : form-data; filename="x.png"; name=file\r\n'
    b"Content-Type: image/png; charset=punycode\r\n\r\n"
)


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"


async def parse(body: bytes) -> dict[str, object]:
    async with open_spool(body) as spool:
        return {
            name: b"".join(value.blocks()) if isinstance(value, LongValue) else value
            for name, value in parse_multipart(spool, b"edge").items()
        }


@pytest.mark.parametrize("length", [0, 1, LONG_BYTES, LONG_BYTES + 1, 3 * BLOCK_BYTES])
async def test_text_and_files_of_any_length_are_read(length: int) -> None:
    content = bytes(number % 251 for number in range(length))
    fields = await parse(multipart(A + b"text", FILE + content))
    assert fields == {"a": "text", "file": content}


@pytest.mark.parametrize(
    "content", [b"\r\n", b"--edge", b"\r\n--edg", b"\r\n--edgeX\r\n--edge-", b"\r\n\r\n--", b"-"]
)
async def test_content_like_a_boundary_is_content(content: bytes) -> None:
    assert await parse(multipart(FILE + content)) == {"file": content}


@pytest.mark.parametrize("shift", range(12))
async def test_a_boundary_at_the_edge_of_a_block_is_found(shift: int) -> None:
    content = b"x" * (BLOCK_BYTES - len(FILE) - shift)
    assert await parse(multipart(FILE + content, A + b"1")) == {"file": content, "a": "1"}


async def test_a_preamble_blanks_and_an_epilogue_are_skipped() -> None:
    body = b"preamble\r\n--edge \t\r\n" + A + b"1\r\n--edge--\r\nepilogue"
    assert await parse(body) == {"a": "1"}


async def test_a_long_file_stays_in_the_spool() -> None:
    async with open_spool(multipart(FILE + b"x" * 70_000, A + b"y" * 70_000)) as spool:
        fields = parse_multipart(spool, b"edge")
        assert [(value.is_file, value.length) for value in fields.values()] == [
            (True, 70_000),
            (False, 70_000),
        ]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"x", "it does not contain the boundary that its content type names."),
        (b"--edgeX\r\n", "a boundary is not followed by a line end."),
        (b"--edge\nx", "a boundary is not followed by a line end."),
        (b"--edge\r\nx", f"a part has no headers, or more than {MAX_HEADER_BYTES} bytes of them."),
        (
            multipart(b"a: " + b"x" * MAX_HEADER_BYTES + b"\r\n" + A),
            f"a part has no headers, or more than {MAX_HEADER_BYTES} bytes of them.",
        ),
        (
            multipart(b"content-type: text/plain\r\n\r\n1"),
            "a part has no name: its header Content-Disposition names none.",
        ),
        (
            multipart(b"content-disposition: form-data\r\n\r\n1"),
            "a part has no name: its header Content-Disposition names none.",
        ),
        (multipart(A + b"\xff"), "the part a is not UTF-8 text."),
        (multipart(A.replace(b'"a"', b'"\xff"')), "a header of a part is not UTF-8 text."),
        (multipart(*[A] * (MAX_FIELDS + 1)), f"it has more than {MAX_FIELDS} parts."),
        (
            multipart(A + b"\r\n--edgeX" * (MAX_LOOKALIKES + 1)),
            "its parts contain the boundary text too often; use another boundary.",
        ),
    ],
)
async def test_malformed_bodies_are_rejected_with_the_reason(body: bytes, problem: str) -> None:
    with pytest.raises(MalformedBodyError) as caught:
        await parse(body)
    assert caught.value.message == f"The multipart body cannot be read: {problem}"


@pytest.mark.parametrize("cut", [1, 3, 4, 8, 10])
async def test_a_body_that_ends_early_is_rejected(cut: int) -> None:
    body = multipart(A + b"1").removesuffix(b"\r\n")
    with pytest.raises(MalformedBodyError, match=r"ends early|line end"):
        await parse(body[:-cut])
