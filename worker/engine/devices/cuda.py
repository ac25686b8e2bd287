"""A CUDA GPU as a `Device`."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from worker.engine.devices.device import DeviceMark, HostCopy, PeakMemory

# Steps that may be queued on the GPU: the second keeps it busy while the host prepares the next;
# more would delay cancellation.
STEPS_AHEAD: Final = 2
MILLISECONDS: Final = 1000

# torch has no type annotations for these.
_Event: Final[Any] = torch.cuda.Event
_Stream: Final[Any] = torch.cuda.Stream


class _PendingCopy:
    def __init__(self, tensors: list[torch.Tensor], copied: Any) -> None:
        self._tensors = tensors
        self._arrived = copied

    def is_ready(self) -> bool:
        return bool(self._arrived.query())

    def wait(self) -> list[torch.Tensor]:
        self._arrived.synchronize()
        return self._tensors


class _EventMark:
    def __init__(self, event: Any) -> None:
        self._event = event

    def has_passed(self) -> bool:
        return bool(self._event.query())

    def seconds_since(self, earlier: "_EventMark") -> float:
        # Measured between the two events, not from a common start: the times are 32-bit floats.
        milliseconds: float = earlier._event.elapsed_time(self._event)  # noqa: SLF001 one of ours
        return milliseconds / MILLISECONDS


class Cuda:
    """A CUDA GPU: calls only enqueue work; copies to the host run on a separate stream."""

    def __init__(self, torch_device: torch.device) -> None:
        self.torch_device = torch_device
        self._copy_stream = _Stream(torch_device)
        self._queued: deque[Any] = deque()

    def free_bytes(self) -> int:
        """Return the bytes available to new tensors: free GPU memory plus torch's unused cache."""
        free, _ = torch.cuda.mem_get_info(self.torch_device)
        reserved = torch.cuda.memory_reserved(self.torch_device)
        return free + reserved - torch.cuda.memory_allocated(self.torch_device)

    @contextmanager
    def measure_peak(self) -> Iterator[PeakMemory]:
        """Yield a `PeakMemory`, set at the end of the block from torch's allocator statistics.

        The peak excludes memory that was allocated before the block. The host does not wait for the
        GPU.
        """
        peak, before = PeakMemory(), torch.cuda.memory_allocated(self.torch_device)
        torch.cuda.reset_peak_memory_stats(self.torch_device)
        yield peak
        peak.bytes = max(0, torch.cuda.max_memory_allocated(self.torch_device) - before)

    def empty_cache(self) -> None:
        """Release torch's unused cached memory to the driver."""
        torch.cuda.empty_cache()

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of a host tensor on the GPU.

        The copy goes through pinned memory, because otherwise the host would wait for the GPU's
        queued work.
        """
        return tensor.pin_memory().to(self.torch_device, non_blocking=True)

    def to_host(self, *tensors: torch.Tensor) -> HostCopy:
        """Start copying tensors to the host on the copy stream, while the next step runs."""
        self._copy_stream.wait_stream(self._stream())
        copied = _Event()
        with torch.cuda.stream(self._copy_stream):
            hosts = []
            for tensor in tensors:
                host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                hosts.append(host.copy_(tensor, non_blocking=True))
                # Otherwise its memory could be reused before it has been copied.
                tensor.record_stream(self._copy_stream)
            copied.record(self._copy_stream)
        return _PendingCopy(hosts, copied)

    def mark(self) -> DeviceMark:
        """Record a CUDA event at the end of the current stream and return it as a mark."""
        event = _Event(enable_timing=True)
        event.record(self._stream())
        return _EventMark(event)

    def throttle(self) -> None:
        """Wait until at most two steps are queued on the GPU; called after each step."""
        event = _Event()
        event.record(self._stream())
        self._queued.append(event)
        if len(self._queued) > STEPS_AHEAD:
            self._queued.popleft().synchronize()

    def _stream(self) -> Any:
        """Return the current stream of this device (torch's current device may be another)."""
        return torch.cuda.current_stream(self.torch_device)
