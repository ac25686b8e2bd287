"""The `Device` protocol (memory, copies, timing), and the CPU as a device."""

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
    """Tensors being copied from the device to the host."""

    def is_ready(self) -> bool:
        """Return whether the copy is complete, so that `wait` would not block."""
        ...

    def wait(self) -> list[torch.Tensor]:
        """Wait for the copy and return the host tensors; callable from any thread."""
        ...


class DeviceMark(Protocol):
    """A position in the device's work queue, for timing."""

    def has_passed(self) -> bool:
        """Return whether the device has finished all work queued before the mark."""
        ...

    def seconds_since(self, earlier: Any) -> float:
        """Return the device seconds between `earlier` and this mark; both must have passed."""
        ...


class PeakMemory:
    """Additional memory, in bytes, that a block needed at its peak; set when the block ends."""

    bytes: int = 0


class Device(Protocol):
    """A compute device for tensors; used from the device thread only, except for `HostCopy`."""

    torch_device: torch.device

    def free_bytes(self) -> int:
        """Return the number of bytes available to new tensors."""
        ...

    def measure_peak(self) -> Any:
        """Return a context manager that yields the `PeakMemory` of its block."""
        ...

    def empty_cache(self) -> None:
        """Release memory that is cached for reuse."""
        ...

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of a host tensor on the device, without waiting for queued work."""
        ...

    def to_host(self, *tensors: torch.Tensor) -> HostCopy:
        """Start copying `tensors` to the host and return the pending copy, without waiting."""
        ...

    def mark(self) -> DeviceMark:
        """Record the end of all work submitted to the device so far, and return it as a mark."""
        ...

    def throttle(self) -> None:
        """Wait until the device is at most a step or two behind the host."""
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
    """A mark on a device without a work queue: the time in seconds of `monotonic`."""

    at: float

    def has_passed(self) -> bool:
        """Return True, because work on the host is done when the call returns."""
        return True

    def seconds_since(self, earlier: "HostMark") -> float:
        """Return the seconds between `earlier` and this mark."""
        return self.at - earlier.at


class Cpu:
    """The host as a device, without a work queue: work is done when the call returns."""

    def __init__(self, torch_device: torch.device | None = None) -> None:
        """Use `torch_device`; None means the CPU."""
        self.torch_device = torch_device or torch.device("cpu")

    def free_bytes(self) -> int:
        """Return the bytes that can be allocated without swapping (Linux's MemAvailable)."""
        return _kibibytes(_AVAILABLE, Path("/proc/meminfo")) * KIBIBYTE

    @contextmanager
    def measure_peak(self) -> Iterator[PeakMemory]:
        """Yield a `PeakMemory`; when the block ends, it is set to the growth of the process's peak.

        Memory held before the block is not counted.
        """
        status, peak = Path("/proc/self/status"), PeakMemory()
        _reset_peak()
        before = _kibibytes(_PEAK, status)
        yield peak
        peak.bytes = max(0, _kibibytes(_PEAK, status) - before) * KIBIBYTE

    def empty_cache(self) -> None:
        """Do nothing: no memory is cached."""

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return `tensor`, moved to `torch_device` if that is not the CPU."""
        return tensor.to(self.torch_device)

    def to_host(self, *tensors: torch.Tensor) -> HostCopy:
        """Return `tensors` as a finished copy; they are already on the host."""
        return _FinishedCopy(list(tensors))

    def mark(self) -> DeviceMark:
        """Return the current time as a mark."""
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
