"""Images can crash their decoder process, and nothing else."""

import os
import re
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from common.domain.errors import DecodingFailedError, InvalidImageError
from tests.unit.worker.engine.image_sandbox import odd_decoder
from tests.unit.worker.engine.images.test_colour import swapped_profile
from tests.unit.worker.engine.images.test_decode import REJECTED
from tests.unit.worker.engine.mutations import PNG, join_file
from tests.unit.worker.engine.sample_images import disc, encoded, noise, same
from worker.engine.image_sandbox.decoder import Decoder, DecoderLimits
from worker.engine.image_sandbox.pool import POOL_SIZE, DecoderPool
from worker.engine.images.inputs import read_image

SIZE = (64, 64)
DEADLINE_SECONDS = 30.0
INIT = encoded(noise())


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    """As many decoders as in production."""
    yield from opened(DecoderPool())


@pytest.fixture(scope="module")
def odd() -> Iterator[DecoderPool]:
    """One decoder that misbehaves on demand."""
    yield from opened(DecoderPool(1, program=odd_decoder.NAME))


def opened(decoders: DecoderPool) -> Iterator[DecoderPool]:
    try:
        yield decoders
    finally:
        decoders.close()


def photograph() -> bytes:
    """A JPEG with everything that could make Pillow import a module."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "what it shows"
    return encoded(noise(), "JPEG", exif=exif, icc_profile=swapped_profile(), progressive=True)


def pair() -> bytes:
    return encoded(noise(), "MPO", save_all=True, append_images=[noise(seed=1)])


TAKEN: list[tuple[str, Callable[[], bytes]]] = [
    ("rgb", lambda: INIT),
    *((mode, partial(encoded, disc().convert(mode))) for mode in ("1", "L", "LA", "P", "I;16")),
    ("palette with holes", lambda: encoded(noise().convert("P"), transparency=3)),
    ("rgba with a profile", partial(encoded, noise().convert("RGBA"), icc_profile=b"nonsense")),
    ("photograph", photograph),
    ("pair", pair),
    ("cmyk", partial(encoded, noise().convert("CMYK"), "JPEG")),
    ("webp", partial(encoded, noise(), "WEBP", exif=Image.Exif(), icc_profile=swapped_profile())),
    ("webp with holes", partial(encoded, noise().convert("RGBA"), "WEBP", lossless=True)),
]


@pytest.mark.parametrize("make", [case[1] for case in TAKEN], ids=[case[0] for case in TAKEN])
def test_pixels_equal_those_of_decoding_in_process(
    decoders: DecoderPool, make: Callable[[], bytes]
) -> None:
    data = make()
    for field in ("init_image", "mask_image"):
        assert same(decoders.read(data, field, (40, 72)), read_image(data, field, (40, 72)))


@pytest.mark.parametrize("case", REJECTED, ids=[case[0] for case in REJECTED])
def test_errors_equal_those_of_decoding_in_process(
    decoders: DecoderPool, case: tuple[str, Callable[[], bytes], str]
) -> None:
    _, data, reason = case
    before = decoders.pids
    with pytest.raises(InvalidImageError, match=f"^mask_image: {re.escape(reason)}$"):
        decoders.read(data(), "mask_image", SIZE)
    assert decoders.pids[:1] == before[:1]  # it lives on


def test_a_decoder_is_confined(decoders: DecoderPool) -> None:
    decoders.read(INIT, "init_image", SIZE)
    for pid in decoders.pids:
        slot = Path(f"/proc/{pid}")
        environment = slot.joinpath("environ").read_bytes().decode()
        assert {entry.partition("=")[0] for entry in environment.split("\0") if entry} <= {
            "PYTHONPATH",
            "MALLOC_MMAP_THRESHOLD_",
            "MALLOC_TRIM_THRESHOLD_",
        }
        assert "torch" not in slot.joinpath("maps").read_text()
        # Nothing of the worker's: no connection, no file.
        assert len(list(slot.joinpath("fd").iterdir())) == 4


@pytest.mark.parametrize("deed", [b"OPENING ", b"CALLING ", b"FORKING "])
def test_a_decoder_cannot_open_files(odd: DecoderPool, deed: bytes) -> None:
    if deed == b"FORKING " and os.geteuid() == 0:
        pytest.skip("the kernel lets root have as many processes as it wants")
    with pytest.raises(DecodingFailedError) as failed:
        odd.read(INIT + deed, "init_image", SIZE)
    assert "exit status 1" in failed.value.detail
    lives(odd)


@pytest.mark.parametrize(
    ("deed", "status"),
    [
        (b"SEGFAULT", -signal.SIGSEGV),
        (b"ABORTING", -signal.SIGABRT),
        (b"KILLED  ", -signal.SIGKILL),
        (b"STUMBLES", 1),
    ],
)
def test_a_crash_fails_only_its_image(odd: DecoderPool, deed: bytes, status: int) -> None:
    before = lost("crashed")
    with capture_logs() as lines, pytest.raises(DecodingFailedError) as failed:
        odd.read(INIT + deed, "init_image", SIZE)
    wanted = (
        "init_image: the process that decodes images crashed on this image; the file may be damaged"
    )
    assert failed.value.message == wanted
    assert {"reason": "crashed", "exit_status": status}.items() <= lines[-1].items()
    assert lost("crashed") == before + 1
    idle = lost("idle")
    lives(odd)
    assert lost("idle") == idle  # it is counted once


def lives(decoders: DecoderPool) -> None:
    assert same(decoders.read(INIT, "init_image", SIZE), noise())


def lost(reason: str) -> float:
    return REGISTRY.get_sample_value("infill_decoders_lost_total", {"reason": reason}) or 0.0


def test_a_decoder_that_died_while_idle_is_replaced(odd: DecoderPool) -> None:
    lives(odd)
    (pid,) = odd.pids
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # until it is dead
    before = lost("idle")
    lives(odd)
    assert lost("idle") == before + 1
    assert odd.pids != [pid]


def test_a_hanging_decoder_is_killed() -> None:
    for odd in opened(DecoderPool(1, DecoderLimits(timeout_seconds=0.5), odd_decoder.NAME)):
        odd.start()
        (pid,) = odd.pids
        with pytest.raises(DecodingFailedError) as failed:
            odd.read(INIT + b"SLEEPING", "mask_image", SIZE)
        assert failed.value.message == "mask_image: the image was not decoded within 0.5 s"
        assert not Path(f"/proc/{pid}").exists()
        odd.start()
        assert odd.pids not in ([], [pid])


def test_an_image_that_takes_too_much_cpu_is_rejected() -> None:
    for odd in opened(DecoderPool(1, DecoderLimits(cpu_seconds=1), odd_decoder.NAME)):
        before = lost("cpu")
        with pytest.raises(InvalidImageError) as rejected:
            odd.read(INIT + b"SPINNING", "init_image", SIZE)
        assert rejected.value.message == "init_image: the image takes more than 1 s to decode"
        assert lost("cpu") == before + 1
        lives(odd)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("PNG", "decoding the image needs too much memory; send a smaller image"),
        ("JPEG", "decoding the image needs too much memory; send a smaller image"),
        ("WEBP", "the image is damaged or cut off"),  # libwebp does not report what is missing
    ],
)
def test_an_image_that_needs_too_much_memory_is_rejected(kind: str, reason: str) -> None:
    """An image of 36 MB with 20 MB left."""
    data = encoded(Image.new("RGB", (3000, 3000)), kind)
    for decoders in opened(DecoderPool(1, DecoderLimits(memory_bytes=20_000_000))):
        lives(decoders)
        (pid,) = decoders.pids
        with pytest.raises(InvalidImageError, match=f"^init_image: {reason}$"):
            decoders.read(data, "init_image", SIZE)
        assert peak_megabytes(pid) < 60
        lives(decoders)
        assert decoders.pids == [pid]


def test_a_decompression_bomb_is_rejected_by_its_header(decoders: DecoderPool) -> None:
    """A small file that Pillow would only warn about, and that would need 89 MB."""
    side = 9_459
    rows = zlib.compress(bytes(side * (side + 1)), 1)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = join_file(PNG, [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")])
    assert len(bomb) < 500_000
    with pytest.raises(InvalidImageError) as rejected:
        decoders.read(bomb, "init_image", SIZE)
    assert (
        rejected.value.message
        == "init_image: the image has 89.5 megapixels; at most 25 are accepted"
    )
    assert max(map(peak_megabytes, decoders.pids)) < 60


def test_a_single_large_allocation_is_rejected(odd: DecoderPool) -> None:
    with pytest.raises(InvalidImageError) as rejected:
        odd.read(INIT + b"HOARDING", "init_image", SIZE)
    assert (
        rejected.value.message
        == "init_image: decoding the image needs too much memory; send a smaller image"
    )


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000


def test_pixels_of_another_size_are_an_error(odd: DecoderPool) -> None:
    with pytest.raises(DecodingFailedError):
        odd.read(INIT + b"ANOTHER ", "init_image", SIZE)
    lives(odd)


def test_images_are_decoded_in_parallel(decoders: DecoderPool) -> None:
    with ThreadPoolExecutor(4) as threads:
        read = partial(decoders.read, size=SIZE)
        images = list(threads.map(read, [INIT] * 12, ["init_image"] * 12))
    assert all(same(image, noise()) for image in images)
    assert len(decoders.pids) == POOL_SIZE


def test_start_runs_the_processes_before_the_first_image() -> None:
    for decoders in opened(DecoderPool()):
        assert decoders.pids == []
        decoders.start()
        pids = decoders.pids
        assert len(pids) == POOL_SIZE
        lives(decoders)
        decoders.start()
        assert decoders.pids == pids


def test_a_decoder_ends_with_its_worker() -> None:
    """However the worker ended: the kernel closes its socket."""
    decoder = Decoder(DecoderLimits())
    assert same(decoder.read(INIT, "init_image", SIZE), noise())
    decoder._connection.close()  # as if this process were gone
    assert decoder._process.wait(DEADLINE_SECONDS) == 0
    decoder.close()


def test_closing_fails_images_in_progress() -> None:
    decoders = DecoderPool(1, program=odd_decoder.NAME)
    lives(decoders)
    (pid,) = decoders.pids
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(decoders.read, INIT + b"SLEEPING", "init_image", SIZE)
        decoders.close()
        with pytest.raises(DecodingFailedError):
            reading.result()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(DecodingFailedError, match="shutting down"):
        decoders.read(INIT, "init_image", SIZE)
