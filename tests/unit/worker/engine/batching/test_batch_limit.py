"""How many fit, and what is learnt from those that did not."""

from worker.engine.batching.batch_limit import FITTED_BEFORE_GROWTH, USABLE_PART, BatchSizeLimiter
from worker.engine.devices.device import Cpu


class Free(Cpu):
    """A device with so much memory to spare."""

    def __init__(self, number: int = 1000) -> None:
        super().__init__()
        self.bytes = number

    def free_bytes(self) -> int:
        return self.bytes


def test_what_was_never_measured_goes_alone() -> None:
    room = BatchSizeLimiter(Free(), most=8)
    assert room.of("shape") == 1


def test_admission_by_measured_memory() -> None:
    device = Free(1000)
    room = BatchSizeLimiter(device, most=8)
    room.fitted("shape", 1, 200)
    assert room.of("shape") == int(1000 * USABLE_PART / 200) == 4
    assert room.of("another") == 1
    device.bytes = 100
    assert room.of("shape") == 1
    device.bytes = 10**9
    assert room.of("shape") == 8


def test_the_larger_batch_tells_better() -> None:
    room = BatchSizeLimiter(Free(1000), most=8)
    room.fitted("shape", 1, 500)  # a workspace of 400, and 100 each
    room.fitted("shape", 2, 600)
    assert room.of("shape") == 2
    room.fitted("shape", 1, 10)
    assert room.of("shape") == 2


def test_what_takes_nothing_new_is_bounded_by_the_setting() -> None:
    room = BatchSizeLimiter(Free(0), most=5)
    room.fitted("shape", 1, 0)
    assert room.of("shape") == 5


def test_too_many_are_halved_and_tried_again_much_later() -> None:
    room = BatchSizeLimiter(Free(10**9), most=8)
    room.fitted("shape", 1, 1)
    room.burst("shape", 8)
    assert room.of("shape") == 4
    room.burst("shape", 1)
    assert room.of("shape") == 1
    for _ in range(FITTED_BEFORE_GROWTH):
        room.fitted("shape", 1, 1)
    assert room.of("shape") == 2


def test_what_burst_first_goes_alone() -> None:
    room = BatchSizeLimiter(Free(), most=8)
    room.burst("shape", 1)
    assert room.of("shape") == 1
