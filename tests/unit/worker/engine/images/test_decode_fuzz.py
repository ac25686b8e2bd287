"""Any bytes decode to valid pixels or raise InvalidImageError, and no decoder crashes.

For a longer run: `python -m tests.unit.worker.engine.fuzz 300`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from common.domain.errors import InvalidImageError
from tests.unit.worker.engine.image_sandbox.test_pool import peak_megabytes
from tests.unit.worker.engine.mutations import KINDS, PARTS, SEEDS, join_file
from worker.engine.image_sandbox.decoder import DecoderLimits
from worker.engine.image_sandbox.pool import DecoderPool
from worker.engine.images.inputs import MODES, read_image

EXAMPLES = 250
SIZE = (24, 16)


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with watched_decoders() as decoders:
        yield decoders


@contextmanager
def watched_decoders() -> Iterator[DecoderPool]:
    """Yield decoders; afterwards check that none was replaced, and their memory growth."""
    decoders = DecoderPool(1)
    try:
        decoders.start()
        pids = decoders.pids
        yield decoders
        assert decoders.pids == pids
        own_megabytes = 40  # the interpreter and Pillow
        most = DecoderLimits().memory_bytes / 1e6 + own_megabytes
        assert max(peak_megabytes(pid) for pid in pids) < most
    finally:
        decoders.close()


def survives(decoders: DecoderPool, data: bytes, field: str) -> bool:
    """Return whether the image was accepted; a crash of the decoder raises another error."""
    try:
        image = decoders.read(data, field, SIZE)
    except InvalidImageError as error:
        named, _, reason = error.message.partition(": ")
        assert (named, bool(reason)) == (field, True)
        return False
    assert (image.mode, image.size) == (MODES[field], SIZE)
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes_give_pixels_or_an_error(decoders: DecoderPool, kind: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(KINDS[kind], st.sampled_from(sorted(MODES)))
    def survive(data: bytes, field: str) -> None:
        survives(decoders, data, field)

    survive()


def fuzz(decoders: DecoderPool, kind: str, *, number: int, examples: int) -> dict[bool, int]:
    """Try other examples for every `number`; return how many were rejected and accepted."""
    count = {False: 0, True: 0}

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(KINDS[kind], st.sampled_from(sorted(MODES)))
    def survive(data: bytes, field: str) -> None:
        count[survives(decoders, data, field)] += 1

    survive()
    return count


def test_enough_mutants_are_valid(decoders: DecoderPool) -> None:
    """Unanimated seeds are accepted, also after reassembly, and many mutants are as well."""
    for data, (signature, parts) in zip(SEEDS, PARTS, strict=True):
        again = join_file(signature, parts)
        for field in MODES:
            taken = survives(decoders, data, field)
            assert survives(decoders, again, field) == taken
            if taken:
                assert read_image(again, field, SIZE) == read_image(data, field, SIZE)
    for kind in ("damaged files", "rebuilt files"):
        count = fuzz(decoders, kind, number=1, examples=100)
        assert min(count.values()) > 10, kind
