"""The memory budget of the model cache, in bytes."""

import os
from pathlib import Path
from typing import Final

import torch

from worker.engine.models.model_cache import GIGABYTE

# Share of a GPU's memory. The rest is for generation: the activations of ten images of 512 × 512
# in UNet and decoder need about as much memory as the weights of Stable Diffusion.
GPU_SHARE: Final = 0.6
# Share of the host's memory, which other processes need as well, and in which a model that is
# loaded for the first time exists beside those that will be evicted for it.
HOST_SHARE: Final = 0.5
_CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def model_budget(device: torch.device, gigabytes: float | None) -> int:
    """Return the number of bytes that cached models may take up on `device`.

    `gigabytes` is the configured budget; None means a share of the device's memory.
    """
    if gigabytes is not None:
        return round(gigabytes * GIGABYTE)
    if device.type == "cuda":
        return round(GPU_SHARE * torch.cuda.get_device_properties(device).total_memory)
    return round(HOST_SHARE * host_memory())


def host_memory(limit: Path = _CONTAINER_LIMIT) -> int:
    """Return the machine's memory in bytes, or the container's memory limit if that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(limit.read_text(encoding="ascii")))
    except (OSError, ValueError):  # there is no container, or the limit is `max`
        return total
