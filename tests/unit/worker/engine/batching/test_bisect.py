"""Only the items that cannot be done fail."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.domain.errors import (
    EngineLostError,
    GenerationError,
    InfillError,
    UnsupportedRequestError,
)
from worker.engine.batching.batch_limit import BatchSizeLimiter
from worker.engine.batching.bisect import BisectingRunner
from worker.engine.devices.device import Cpu

# So much memory that only `max_batch` bounds.
PLENTY = 10**15


class Plenty(Cpu):
    released = 0

    def free_bytes(self) -> int:
        return PLENTY

    def empty_cache(self) -> None:
        self.released += 1


def batches(device: Cpu, *, max_batch: int = 8) -> BisectingRunner:
    limiter = BatchSizeLimiter(device, max_batch=max_batch)
    limiter.record_success("work", 1, 1)  # else the first goes alone
    return BisectingRunner(device, limiter)


def values(outcomes: Sequence[int | InfillError]) -> list[int | None]:
    return [None if isinstance(outcome, InfillError) else outcome for outcome in outcomes]


@given(
    number=st.integers(1, 20),
    bad=st.sets(st.integers(0, 19)),
    fits=st.integers(1, 8),
    max_batch=st.integers(1, 8),
)
def test_all_good_items_succeed_in_order(
    number: int, bad: set[int], fits: int, max_batch: int
) -> None:
    def work(items: Sequence[int]) -> list[int]:
        if len(items) > fits:
            raise torch.OutOfMemoryError
        if bad & set(items):
            raise ZeroDivisionError
        return [10 * item for item in items]

    outcomes = batches(Plenty(), max_batch=max_batch).run("work", range(number), work)
    assert values(outcomes) == [None if item in bad else 10 * item for item in range(number)]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory, secrets"),
        MemoryError(),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_shrinks_later_batches(error: Exception) -> None:
    device, sizes = Plenty(), []

    def work(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        if len(items) > 2:
            raise error
        return list(items)

    patient = batches(device)
    for _ in range(2):
        assert values(patient.run("work", range(8), work)) == list(range(8))
    assert sizes == [8, 4, 2, 2, 4, 2, 2, 2, 2, 2, 2]
    assert device.released == 3


def test_a_single_item_is_retried_with_an_empty_cache() -> None:
    device = Plenty()

    def work(items: Sequence[int]) -> list[int]:
        if not device.released:
            raise MemoryError
        return list(items)

    assert values(batches(device).run("work", [1], work)) == [1]


def test_out_of_memory_for_a_single_item_is_its_error() -> None:
    def work(_items: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError("full of secrets")

    (error,) = batches(Plenty()).run("work", [1], work)
    assert isinstance(error, GenerationError)
    assert error.message == "the model ran out of memory; try a smaller width and height"
    assert "secrets" in error.detail


def test_a_broken_device_is_an_engine_lost_error() -> None:
    def work(_items: Sequence[int]) -> list[int]:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    outcomes = batches(Plenty()).run("work", [1, 2, 3], work)
    assert [type(outcome) for outcome in outcomes] == [EngineLostError] * 3


def test_internals_are_detail_and_our_own_errors_are_kept() -> None:
    def work(items: Sequence[int]) -> list[int]:
        raise (ZeroDivisionError("inner"), UnsupportedRequestError("unsupported"))[items[0]]

    inner, own = batches(Plenty(), max_batch=1).run("work", [0, 1], work)
    assert isinstance(inner, GenerationError)
    assert (inner.message, "inner" in inner.detail) == (
        "the model failed with an unexpected error, which has been logged",
        True,
    )
    assert isinstance(own, UnsupportedRequestError)
