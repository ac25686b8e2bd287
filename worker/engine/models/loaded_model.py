"""One model's weights on a device, with all that is needed to draw with them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch

from common.domain.errors import UnsupportedRequestError
from common.domain.generation import Endpoint, GenerationRequest
from common.settings.catalogue import ModelEntry
from worker.engine.models.families import Family
from worker.engine.models.safety_checker import SafetyChecker
from worker.engine.models.schedulers import fresh_scheduler, scheduler_named, scheduler_names

# Where tensors have a shape and no bytes.
_NOWHERE: Final = torch.device("meta")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LoadedModel:
    """One model's weights, shared by a pipeline for each endpoint it serves.

    `scheduler` is a template: each image is drawn with a fresh one like it. `bytes` are those of
    all parameters and buffers.
    """

    entry: ModelEntry
    family: Family
    device: torch.device
    dtype: torch.dtype
    pipelines: dict[Endpoint, Any]
    scheduler: Any
    safety: SafetyChecker | None
    modules: tuple[torch.nn.Module, ...]
    bytes: int

    @property
    def components(self) -> dict[str, Any]:
        """The pipelines' parts by their names in diffusers; they are the same for each endpoint."""
        components: dict[str, Any] = next(iter(self.pipelines.values())).components
        return components

    @property
    def unet(self) -> Any:
        """What denoises; only Stable Diffusion and Stable Diffusion XL have one for certain."""
        return self.components["unet"]

    @property
    def vae(self) -> Any:
        """What turns pictures into latents and back; for which families, see `unet`."""
        return self.components["vae"]

    def scheduler_for(self, request: GenerationRequest) -> Any:
        """Give a fresh scheduler, the model's own or the one that `request` names.

        Raises:
            UnsupportedRequestError: no scheduler of the wanted name fits the model.
        """
        if request.scheduler is None:
            return fresh_scheduler(self.scheduler)
        scheduler = scheduler_named(request.scheduler, self.scheduler)
        if scheduler is None:
            raise UnsupportedRequestError(
                f"scheduler: {request.scheduler} does not fit the model {request.model}; there "
                "are " + ", ".join(scheduler_names(self.scheduler))
            )
        return scheduler

    def unload(self) -> None:
        """Give the memory back; the model is of no use afterwards.

        The weights themselves are let go, not merely the reference to this: what is caught in a
        cycle would stay until the collector comes by, and what was there when a worker froze its
        start (`gc.freeze`) for ever.
        """
        for module in self.modules:
            module.to(_NOWHERE)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def bytes_of(modules: Iterable[torch.nn.Module]) -> int:
    """Count the bytes of all parameters and buffers; what modules share counts once."""
    tensors = {
        id(tensor): tensor.nbytes
        for module in modules
        for held in (module.parameters(), module.buffers())
        for tensor in held
    }
    return sum(tensors.values())
