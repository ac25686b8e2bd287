import gzip
from errno import ENOSPC

import pytest

from api.body.formats.fields import parse_fields
from api.body.receiving.spool import SMALL_BYTES
from api.errors.api_error import (
    BodyTooLargeError,
    MalformedBodyError,
    UnavailableError,
    WrongKeyError,
)
from common.domain.api_key import new_key
from tests.support.bodies import parsed, received
from tests.support.requests import make_request

KEY = new_key()
LARGE = b'"image": "' + b"A" * (3 * SMALL_BYTES) + b'"'


def chunks(body: bytes, size: int = 10_000) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize(
    "body",
    [
        b'{"key": "%s", %s}' % (KEY.encode(), LARGE),
        b'{%s, "key": "%s"}' % (LARGE, KEY.encode()),
        b'{"seed": "%s", %s, "key": "%s"}' % (new_key().encode(), LARGE, KEY.encode()),
    ],
)
@pytest.mark.parametrize("size", [1000, 66_000])
async def test_a_large_body_that_contains_a_key_is_received(body: bytes, size: int) -> None:
    async with received(make_request(*chunks(body, size)), keys=(KEY,)) as (spool, headers):
        assert spool.size == len(body)
        assert parse_fields(spool, headers)["key"] == KEY


@pytest.mark.parametrize(
    "text",
    [b"", new_key().encode(), KEY[:-1].encode()],
    ids=["empty", "unknown", "cut off"],
)
async def test_a_large_body_without_a_tenants_key_is_rejected(text: bytes) -> None:
    body = b'{"key": "%s", %s}' % (text, LARGE)
    with pytest.raises(WrongKeyError):
        async with received(make_request(*chunks(body)), keys=(KEY,)):
            pass


async def test_a_small_body_without_a_key_is_received() -> None:
    async with received(make_request(b'{"key": 5}'), keys=(KEY,)) as (spool, _):
        assert spool.is_small


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
async def test_a_gzip_body_is_read(encoding: str) -> None:
    body = b"{%s}" % LARGE
    request = make_request(*chunks(gzip.compress(body), 100), content_encoding=encoding)
    async with parsed(request) as fields:
        assert fields["image"].length == 3 * SMALL_BYTES


async def test_the_size_of_a_gzip_body_is_limited_after_decompression() -> None:
    request = make_request(gzip.compress(b"{%s}" % LARGE), content_encoding="gzip")
    with pytest.raises(BodyTooLargeError):
        async with received(request, 1000):
            pass


async def test_a_gzip_body_that_ends_early_is_rejected() -> None:
    request = make_request(gzip.compress(b"{}")[:-1], content_encoding="gzip")
    with pytest.raises(MalformedBodyError):
        async with received(request):
            pass


async def test_a_full_disk_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    with pytest.raises(UnavailableError) as caught:
        async with received(make_request(*chunks(b"{%s}" % LARGE))):
            pass
    assert caught.value.code == "spool_unavailable"
