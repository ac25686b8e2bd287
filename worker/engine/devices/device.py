"""The `Device` protocol (memory, copies, timing), and the CPU."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from common.runtime.clock import monotonic

KIBIBYTE: Final = 1024
# Writing this resets the kernel's record of peak memory (proc(5)).
_RESET_PEAK: Final = "5"
_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")
_AVAILABLE: Final = re.compile(r"MemAvailable:\s+(\d+) kB")


class HostCopy(Protocol):
    """Tensors being copied to the host."""

    def is_ready(self) -> bool:
        """Return whether `wait` would return at once."""
        ...

    def wait(self) -> list[torch.Tensor]:
        """Wait for the copy and return the tensors; any thread may call it."""
        ...


class DeviceMark(Protocol):
    """A point in the device's work queue."""

    def has_passed(self) -> bool:
        """Return whether the device has reached it."""
        ...

    def seconds_since(self, earlier: Any) -> float:
        """Return the device time since an earlier mark; both must have been reached."""
        ...


class PeakMemory:
    """Additional memory, in bytes, that a block needed at its peak; set when the block ends."""

    bytes: int = 0


class Device(Protocol):
    """Where tensors live; used from the device thread only, except for `HostCopy`."""

    torch_device: torch.device

    def free_bytes(self) -> int:
        """Return the number of bytes available to new tensors."""
        ...

    def measure_peak(self) -> Any:
        """Return a context manager that measures the block's `PeakMemory`."""
        ...

    def empty_cache(self) -> None:
        """Release memory that is cached for reuse."""
        ...

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of a host tensor on the device, without waiting for queued work."""
        ...

    def to_host(self, *tensors: torch.Tensor) -> HostCopy:
        """Start to copy tensors to the host, without waiting for the device."""
        ...

    def mark(self) -> DeviceMark:
        """Mark the current end of the device's work queue."""
        ...

    def throttle(self) -> None:
        """Wait until the device is at most a step or two behind."""
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
    """A mark on a device without a work queue: seconds of `monotonic`."""

    at: float

    def has_passed(self) -> bool:
        """Return True."""
        return True

    def seconds_since(self, earlier: "HostMark") -> float:
        """Return the seconds between the marks."""
        return self.at - earlier.at


class Cpu:
    """The host: work is done when the call returns."""

    def __init__(self, torch_device: torch.device | None = None) -> None:
        """Use `torch_device`; None means the CPU."""
        self.torch_device = torch_device or torch.device("cpu")

    def free_bytes(self) -> int:
        """Return Linux's MemAvailable: what can be used without swapping."""
        return _kibibytes(_AVAILABLE, Path("/proc/meminfo")) * KIBIBYTE

    @contextmanager
    def measure_peak(self) -> Iterator[PeakMemory]:
        """Measure the growth of the process's peak memory; memory held before is not counted."""
        status, peak = Path("/proc/self/status"), PeakMemory()
        _reset_peak()
        before = _kibibytes(_PEAK, status)
        yield peak
        peak.bytes = max(0, _kibibytes(_PEAK, status) - before) * KIBIBYTE

    def empty_cache(self) -> None:
        """Do nothing: no memory is cached."""

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor, moved if `torch_device` is not the CPU."""
        return tensor.to(self.torch_device)

    def to_host(self, *tensors: torch.Tensor) -> HostCopy:
        """Return the tensors as they are."""
        return _FinishedCopy(list(tensors))

    def mark(self) -> DeviceMark:
        """Return the current time."""
        return HostMark(monotonic())

    def throttle(self) -> None:
        """Do nothing: no work is queued."""


def _kibibytes(line: re.Pattern[str], file: Path) -> int:
    match = line.search(file.read_text(encoding="ascii"))
    return int(match[1]) if match else 0


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:  # a container may forbid it: then only growth beyond the old peak is measured
        return
