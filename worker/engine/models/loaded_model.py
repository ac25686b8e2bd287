"""A model's weights on a device, with its pipelines."""

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

# The device of tensors that have a shape and no storage.
_NOWHERE: Final = torch.device("meta")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LoadedModel:
    """One model's weights, shared by a pipeline for each endpoint.

    `scheduler` is a template: each image gets a copy. `bytes` is the size of all parameters and
    buffers.
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
        """Return the pipelines' components by their diffusers names; all endpoints share them."""
        components: dict[str, Any] = next(iter(self.pipelines.values())).components
        return components

    @property
    def unet(self) -> Any:
        """Return the UNet; of the family `OTHER`, some models have none."""
        return self.components["unet"]

    @property
    def vae(self) -> Any:
        """Return the autoencoder; of the family `OTHER`, some models have none."""
        return self.components["vae"]

    def scheduler_for(self, request: GenerationRequest) -> Any:
        """Return a new scheduler: the one that `request` names, else the model's own.

        Raises:
            UnsupportedRequestError: the requested scheduler does not fit the model.
        """
        if request.scheduler is None:
            return fresh_scheduler(self.scheduler)
        scheduler = scheduler_named(request.scheduler, self.scheduler)
        if scheduler is None:
            raise UnsupportedRequestError(
                f"scheduler: the model {request.model} does not support {request.scheduler}; "
                "it supports: " + ", ".join(scheduler_names(self.scheduler))
            )
        return scheduler

    def unload(self) -> None:
        """Free the memory; the model is unusable afterwards.

        The weights themselves are released, not just the reference to this object: what is part of
        a reference cycle would stay until the garbage collector runs, and for ever if it existed
        when the worker called `gc.freeze` at its start.
        """
        for module in self.modules:
            module.to(_NOWHERE)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def bytes_of(modules: Iterable[torch.nn.Module]) -> int:
    """Return the size of all parameters and buffers; tensors that modules share count once."""
    tensors = {
        id(tensor): tensor.nbytes
        for module in modules
        for held in (module.parameters(), module.buffers())
        for tensor in held
    }
    return sum(tensors.values())
