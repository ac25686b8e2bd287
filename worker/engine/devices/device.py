"""What differs between devices: memory, copies to the host, telling the time. The host itself."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from common.runtime.clock import monotonic

KIBIBYTE: Final = 1024
# Writing this makes the kernel forget the highest memory use so far (proc(5)).
_RESET_PEAK: Final = "5"
_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")
_AVAILABLE: Final = re.compile(r"MemAvailable:\s+(\d+) kB")


class HostCopy(Protocol):
    """Tensors on their way to the host."""

    def is_ready(self) -> bool:
        """Tell whether waiting would take no time."""
        ...

    def wait(self) -> list[torch.Tensor]:
        """Give them; any thread may wait, others go on."""
        ...


class DeviceMark(Protocol):
    """A point of the device's work."""

    def has_passed(self) -> bool:
        """Tell whether the device has come by."""
        ...

    def seconds_since(self, earlier: Any) -> float:
        """Give the time from another mark of this device; both must be past."""
        ...


class PeakMemory:
    """The memory, in bytes, that a block of work needed at its height; set when it has ended."""

    bytes: int = 0


class Device(Protocol):
    """Where tensors live; used from the loop's thread alone, but for `HostCopy`."""

    torch_device: torch.device

    def free_bytes(self) -> int:
        """Give the memory that new tensors could have."""
        ...

    def measure_peak(self) -> Any:
        """Measure the block's `PeakMemory`."""
        ...

    def empty_cache(self) -> None:
        """Give back memory that is only kept for later."""
        ...

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Give a tensor of the host on the device; does not wait for what the device has to do."""
        ...

    def to_host(self, *tensors: torch.Tensor) -> HostCopy:
        """Begin to copy; does not wait for the device."""
        ...

    def mark(self) -> DeviceMark:
        """Mark this point of the device's work."""
        ...

    def throttle(self) -> None:
        """Wait until the device is behind by a step or two at most."""
        ...


class _FinishedCopy:
    def __init__(self, tensors: list[torch.Tensor]) -> None:
        self._tensors = tensors

    def is_ready(self) -> bool:
        return True

    def wait(self) -> list[torch.Tensor]:
        return self._tensors


@dataclass(frozen=True, slots=True)
class HostMark:
    """A mark of what does not lag behind, at so many seconds of the host's clock."""

    at: float

    def has_passed(self) -> bool:
        """It was past when it was made."""
        return True

    def seconds_since(self, earlier: "HostMark") -> float:
        """Give the time between."""
        return self.at - earlier.at


class Cpu:
    """The host itself: whatever was asked has been done when the call returns."""

    def __init__(self, torch_device: torch.device | None = None) -> None:
        """Stand for `torch_device`, which None takes for the CPU."""
        self.torch_device = torch_device or torch.device("cpu")

    def free_bytes(self) -> int:
        """Give what Linux says is available without swapping."""
        return _kibibytes(_AVAILABLE, Path("/proc/meminfo")) * KIBIBYTE

    @contextmanager
    def measure_peak(self) -> Iterator[PeakMemory]:
        """Measure by how much the process grew; what it keeps from before is not counted twice."""
        status, peak = Path("/proc/self/status"), PeakMemory()
        _reset_peak()
        before = _kibibytes(_PEAK, status)
        yield peak
        peak.bytes = max(0, _kibibytes(_PEAK, status) - before) * KIBIBYTE

    def empty_cache(self) -> None:
        """Nothing is kept that could be given back."""

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Give it as it is."""
        return tensor.to(self.torch_device)

    def to_host(self, *tensors: torch.Tensor) -> HostCopy:
        """Give them as they are."""
        return _FinishedCopy(list(tensors))

    def mark(self) -> DeviceMark:
        """Take the time now."""
        return HostMark(monotonic())

    def throttle(self) -> None:
        """It is never behind."""


def _kibibytes(line: re.Pattern[str], file: Path) -> int:
    match = line.search(file.read_text(encoding="ascii"))
    return int(match[1]) if match else 0


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:  # a container may forbid it: then only growth beyond the old peak is seen
        return
