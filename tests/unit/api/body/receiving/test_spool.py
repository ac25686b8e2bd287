import io
from collections.abc import AsyncIterator

import pytest

from api.body.receiving.spool import BLOCK_BYTES, SMALL_BYTES, LongValue, Spool
from tests.support.bodies import open_spool

CONTENT = bytes(number % 251 for number in range(3 * BLOCK_BYTES))


@pytest.fixture(params=[SMALL_BYTES, 3 * BLOCK_BYTES], ids=["memory", "file"])
async def spool(request: pytest.FixtureRequest) -> AsyncIterator[Spool]:
    async with open_spool(CONTENT[: request.param]) as opened:
        yield opened


async def test_bytes_are_read_from_any_position(spool: Spool) -> None:
    size = spool.size
    assert spool.is_small == (size <= SMALL_BYTES)
    for start, length in ((0, 10), (size - 5, 10), (1000, 50_000), (size, 1), (size + 9, 1)):
        assert spool.read(start, length) == CONTENT[:size][start : start + length]


async def test_bytes_are_appended_behind_the_body(spool: Spool) -> None:
    size = spool.size
    spool.append(b"first")
    assert spool.read(size, 9) == b"first"
    spool.append(bytes(SMALL_BYTES))
    spool.append(b"last")
    assert spool.read(size, 6) == b"first\0"
    assert spool.read(spool.size - 4, 9) == b"last"


@pytest.mark.parametrize("at", [0, BLOCK_BYTES - 3, 2 * BLOCK_BYTES - 1, 3 * BLOCK_BYTES - 6])
async def test_text_is_found_across_blocks(at: int) -> None:
    content = bytearray(3 * BLOCK_BYTES)
    content[at : at + 6] = b"needle"
    async with open_spool(bytes(content)) as spool:
        assert spool.find(b"needle", 0) == at
        assert spool.find(b"needle", at) == at
        assert spool.find(b"needle", at + 1) == -1


async def test_a_closed_file_cannot_be_used() -> None:
    async with open_spool(CONTENT) as spool:
        spool.close()
        spool.close()
        with pytest.raises(ValueError, match="released"):
            spool.read(0, 1)
        with pytest.raises(ValueError, match="released"):
            spool.append(bytes(SMALL_BYTES + 1))


async def test_a_long_value_is_a_seekable_file(spool: Spool) -> None:
    value = LongValue(spool, 1000, 20_000, is_file=True)
    expected = io.BytesIO(CONTENT[1000:21_000])
    opened = value.open()
    assert opened.readable()
    assert opened.seekable()
    for offset, whence in ((0, 0), (-5, 2), (100, 0), (3, 1), (9, 2), (0, 0)):
        assert opened.seek(offset, whence) == expected.seek(offset, whence) == opened.tell()
        assert opened.read(7) == expected.read(7)
    assert opened.read() == expected.read()
    assert b"".join(value.raw_blocks()) == b"".join(value.blocks()) == CONTENT[1000:21_000]
