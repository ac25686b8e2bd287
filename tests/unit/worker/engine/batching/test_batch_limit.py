"""Batch size limits learnt from measured memory."""

from worker.engine.batching.batch_limit import (
    SUCCESSES_BEFORE_GROWTH,
    USABLE_SHARE,
    BatchSizeLimiter,
)
from worker.engine.devices.device import Cpu


class Free(Cpu):
    """A device with a given amount of free memory."""

    def __init__(self, number: int = 1000) -> None:
        super().__init__()
        self.bytes = number

    def free_bytes(self) -> int:
        return self.bytes


def test_unmeasured_work_runs_in_a_batch_of_one() -> None:
    limiter = BatchSizeLimiter(Free(), max_batch=8)
    assert limiter.limit("shape") == 1


def test_the_limit_follows_measured_memory() -> None:
    device = Free(1000)
    limiter = BatchSizeLimiter(device, max_batch=8)
    limiter.record_success("shape", 1, 200)
    assert limiter.limit("shape") == int(1000 * USABLE_SHARE / 200) == 4
    assert limiter.limit("another") == 1
    device.bytes = 100
    assert limiter.limit("shape") == 1
    device.bytes = 10**9
    assert limiter.limit("shape") == 8


def test_the_largest_measured_batch_is_the_reference() -> None:
    limiter = BatchSizeLimiter(Free(1000), max_batch=8)
    limiter.record_success("shape", 1, 500)  # a workspace of 400, and 100 each
    limiter.record_success("shape", 2, 600)
    assert limiter.limit("shape") == 2
    limiter.record_success("shape", 1, 10)
    assert limiter.limit("shape") == 2


def test_work_without_memory_use_is_limited_by_the_setting() -> None:
    limiter = BatchSizeLimiter(Free(0), max_batch=5)
    limiter.record_success("shape", 1, 0)
    assert limiter.limit("shape") == 5


def test_the_limit_is_halved_and_grows_again_much_later() -> None:
    limiter = BatchSizeLimiter(Free(10**9), max_batch=8)
    limiter.record_success("shape", 1, 1)
    limiter.record_out_of_memory("shape", 8)
    assert limiter.limit("shape") == 4
    limiter.record_out_of_memory("shape", 1)
    assert limiter.limit("shape") == 1
    for _ in range(SUCCESSES_BEFORE_GROWTH):
        limiter.record_success("shape", 1, 1)
    assert limiter.limit("shape") == 2


def test_work_that_ran_out_of_memory_first_has_limit_one() -> None:
    limiter = BatchSizeLimiter(Free(), max_batch=8)
    limiter.record_out_of_memory("shape", 1)
    assert limiter.limit("shape") == 1
