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
    """The weights of one model on a device, shared by one pipeline for each endpoint.

    `scheduler` is a template that is copied for each image. `safety` is the safety checker, or None
    if the model has none. `bytes` is the size of all parameters and buffers.
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
        """Return the pipelines' components by diffusers' names; the pipelines share them."""
        components: dict[str, Any] = next(iter(self.pipelines.values())).components
        return components

    @property
    def unet(self) -> Any:
        """Return the UNet.

        Raises:
            KeyError: the model has no UNet, like some models of family `OTHER`.
        """
        return self.components["unet"]

    @property
    def vae(self) -> Any:
        """Return the autoencoder.

        Raises:
            KeyError: the model has no autoencoder, like some models of family `OTHER`.
        """
        return self.components["vae"]

    def scheduler_for(self, request: GenerationRequest) -> Any:
        """Return a new scheduler: the one `request` names, or the model's own if it names none.

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
        """Free the memory of the weights; the model is unusable afterwards.

        The storage of the weights is released, not only the reference to this object: an object in
        a reference cycle would stay in memory until the garbage collector runs, or forever if it
        was created before the worker called `gc.freeze` at its start.
        """
        for module in self.modules:
            module.to(_NOWHERE)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def bytes_of(modules: Iterable[torch.nn.Module]) -> int:
    """Return the size in bytes of all parameters and buffers; shared tensors count once."""
    tensors = {
        id(tensor): tensor.nbytes
        for module in modules
        for held in (module.parameters(), module.buffers())
        for tensor in held
    }
    return sum(tensors.values())
