"""Images that wait for the object store: in memory up to a bound, then in files."""

import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from common.domain.errors import StorageOutageError
from worker.image_store.spool import ImageSpool


async def test_images_beyond_the_bound_wait_in_files() -> None:
    spool = ImageSpool(memory_bytes=10)
    async with AsyncExitStack() as stack:
        kept = [await stack.enter_async_context(spool.keep(b"%d" % n * 4)) for n in range(4)]
        assert kept[:2] == [b"0000", b"1111"]
        assert spool.bytes_in_memory == 8
        files = [image for image in kept if not isinstance(image, bytes)]
        assert len(files) == 2
        for number, file in enumerate(files, 2):
            file.seek(0)
            assert file.read() == b"%d" % number * 4
    assert spool.bytes_in_memory == 0
    assert all(file.closed for file in files)


async def test_an_image_in_a_file_leaves_the_memory() -> None:
    image = bytes([1]) * 100_000
    held = sys.getrefcount(image)
    async with ImageSpool(memory_bytes=0).keep(image) as file:
        assert not isinstance(file, bytes)
        async with asyncio.timeout(60):
            while sys.getrefcount(image) > held:  # noqa: ASYNC110 - the writing thread just returned
                await asyncio.sleep(0)


async def test_a_disk_that_takes_no_file_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageOutageError) as caught:
        async with ImageSpool(memory_bytes=0).keep(b"image"):
            pass
    assert "temporary file" in caught.value.detail
