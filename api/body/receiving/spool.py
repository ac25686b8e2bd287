"""The bytes of one request body: in memory if there are few, otherwise in an anonymous file."""

import asyncio
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from threading import Lock
from typing import BinaryIO, Final, cast

# The largest body that is kept in memory and parsed at once on the event loop.
SMALL_BYTES: Final = 65_536
# Long bodies and values are read in blocks, so that no step holds the interpreter for long.
BLOCK_BYTES: Final = 262_144

# Returns the number of bytes at the start of a block that can be decoded without the next block.
Cut = Callable[[bytes], int]
Decode = Callable[[bytes], bytes]


class Spool:
    """The bytes of one body, appended while it arrives and read back from any position.

    All file access runs in the threads of `executor`, or in a thread of the caller's.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._pending = bytearray()  # not yet in the file
        self._written = 0
        self._file: BinaryIO | None = None
        self._lock = Lock()  # or a read could meet a descriptor that was closed and used again

    @property
    def size(self) -> int:
        """The number of bytes appended so far."""
        return self._written + len(self._pending)

    @property
    def is_small(self) -> bool:
        """Whether the bytes are in memory, and few enough to be parsed at once."""
        return self._file is None and len(self._pending) <= SMALL_BYTES

    async def write(self, chunk: bytes) -> None:
        """Append a chunk, and write the file once the bytes in memory are many.

        Raises:
            OSError: the file cannot be written.
        """
        self._pending += chunk
        if len(self._pending) > SMALL_BYTES:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._flush)

    def append(self, data: bytes) -> None:
        """Append bytes in the calling thread.

        Raises:
            OSError: the file cannot be written.
        """
        self._pending += data
        if len(self._pending) > SMALL_BYTES:
            self._flush()

    def read(self, start: int, length: int) -> bytes:
        """Return at most `length` bytes from position `start`; fewer at the end.

        Raises:
            ValueError: the spool has been closed.
            OSError: the file cannot be read.
        """
        if start >= self._written:
            return bytes(self._pending[start - self._written : start - self._written + length])
        if self._pending:
            self._flush()
        with self._lock:
            if self._file is None:
                raise ValueError("the body has been released")
            return os.pread(self._file.fileno(), length, start)

    def find(self, needle: bytes, start: int) -> int:
        """Return the first position of `needle` at or after `start`, or -1."""
        at = start
        while block := self.read(at, BLOCK_BYTES):
            found = block.find(needle)
            if found >= 0:
                return at + found
            if len(block) < len(needle):
                break
            at += len(block) - len(needle) + 1
        return -1

    def close(self) -> None:
        """Forget all bytes; further calls have no effect."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
        self._pending.clear()

    def _flush(self) -> None:
        with self._lock:
            if self._file is None:
                if self._written:
                    raise ValueError("the body has been released")
                self._file = cast("BinaryIO", tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
            with memoryview(self._pending) as view:
                done = 0
                while done < len(view):
                    done += os.pwrite(self._file.fileno(), view[done:], self._written + done)
            self._written += len(self._pending)
            self._pending.clear()


def _all_of(block: bytes) -> int:
    return len(block)


def _unchanged(block: bytes) -> bytes:
    return block


@dataclass(frozen=True, slots=True, eq=False)
class LongValue:
    """One long value in a body, which stays in the spool and is read in blocks.

    `start` and `length` locate its encoded bytes. `is_file` is true for an uploaded file.
    """

    spool: Spool
    start: int
    length: int
    is_file: bool = False
    decode: Decode = _unchanged
    cut: Cut = _all_of

    def raw_blocks(self) -> Iterator[bytes]:
        """Yield the bytes as they were sent."""
        return iter_blocks(self.spool, self.start, self.length)

    def blocks(self) -> Iterator[bytes]:
        """Yield the decoded bytes.

        Raises:
            ValueError: the value contains an invalid escape sequence, or text that is not UTF-8.
        """
        at, end = self.start, self.start + self.length
        while at < end:
            block = self.spool.read(at, min(BLOCK_BYTES, end - at))
            if at + len(block) < end:
                block = block[: self.cut(block)]
            if not block:
                raise ValueError("incomplete")
            at += len(block)
            yield self.decode(block)

    def open(self) -> BinaryIO:
        """Return a readable, seekable file of the bytes as they were sent."""
        return cast("BinaryIO", _LongValueFile(self))


def iter_blocks(spool: Spool, start: int, length: int) -> Iterator[bytes]:
    """Yield `length` bytes of `spool` from position `start`, in blocks."""
    end = start + length
    while start < end and (block := spool.read(start, min(BLOCK_BYTES, end - start))):
        start += len(block)
        yield block


class _LongValueFile(io.RawIOBase):
    """A file-like view of a value, for clients that upload from a file."""

    def __init__(self, value: LongValue) -> None:
        super().__init__()
        self._value = value
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._value.length}
        self._position = max(0, start[whence] + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # the C type is wider
        left = max(0, self._value.length - self._position)
        start = self._value.start + self._position
        data = self._value.spool.read(start, min(len(buffer), left)) if left else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
