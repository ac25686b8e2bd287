"""The memory budget of the model cache."""

import os
from pathlib import Path
from typing import Final

import torch

from worker.engine.models.model_cache import GIGABYTE

# Of a GPU's memory. What is drawn takes the rest: ten images of 512 × 512 at once want about as
# much on their way through the network and the decoder as the weights of Stable Diffusion.
GPU_SHARE: Final = 0.6
# Of the machine's: it is shared with other processes, and a model that is read for the first time
# is there beside those that will go for it.
HOST_SHARE: Final = 0.5
_CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def model_budget(device: torch.device, gigabytes: float | None) -> int:
    """Return the bytes that models may take on `device`; `gigabytes` None means a share of it."""
    if gigabytes is not None:
        return round(gigabytes * GIGABYTE)
    if device.type == "cuda":
        return round(GPU_SHARE * torch.cuda.get_device_properties(device).total_memory)
    return round(HOST_SHARE * host_memory())


def host_memory(limit: Path = _CONTAINER_LIMIT) -> int:
    """Return the bytes of memory of the machine, or of its container if that has a limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(limit.read_text(encoding="ascii")))
    except (OSError, ValueError):  # there is no container, or it says `max`
        return total
