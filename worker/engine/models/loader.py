"""Load models: from a catalogue entry to pipelines that are ready to run."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import torch

from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from common.runtime.clock import monotonic
from common.settings.catalogue import RANDOM_PREFIX, ModelEntry
from worker.engine.models.families import family_of
from worker.engine.models.loaded_model import LoadedModel, bytes_of
from worker.engine.models.optimizations import optimize
from worker.engine.models.pipelines import CLASS, Pipelines, index_of, pipelines_of
from worker.engine.models.safety_checker import SafetyChecker
from worker.engine.models.schedulers import scheduler_named, scheduler_names
from worker.engine.models.stand_in import stand_in_folder

log = structlog.get_logger(__name__)

_INPAINTING_CHANNELS = 9


def choose_device(name: str | None) -> torch.device:
    """Return the torch device `name`; None means CUDA if available, else the CPU.

    Raises:
        ConfigurationError: torch does not know the device.
    """
    try:
        return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ConfigurationError(
            f"INFILL_WORKER_DEVICE: {name!r} is not a torch device; use cpu, cuda or cuda:0"
        ) from error


def no_reservation(_size: int) -> None:
    """Do nothing: a `reserve_memory` for callers that know that enough memory is free."""


def load_model(
    entry: ModelEntry,
    directory: Path,
    device: torch.device,
    reserve_memory: Callable[[int], None] = no_reservation,
) -> LoadedModel:
    """Load the model of `entry` onto `device` and return it optimized and ready to run.

    The weights are read into host memory first. `reserve_memory` is then called with their size in
    bytes, and may block, before they are moved to the device. Stand-in models are stored in
    `directory`.

    Raises:
        ConfigurationError: the weights are unavailable, or do not support what the entry asks for.
    """
    started = monotonic()
    with _configuration_errors(entry):
        first, pipelines = _first_pipeline(entry, _source(entry, directory), device)
        size = bytes_of(_modules(first))
    reserve_memory(size)
    with _configuration_errors(entry):
        loaded = _on_device(entry, first.to(device), pipelines, size)
        optimize(loaded)
    log.info(
        "model_loaded",
        model=entry.name,
        family=loaded.family.value,
        device=str(device),
        megabytes=round(size / 1e6),
        seconds=round(monotonic() - started, 3),
    )
    if entry.has_random_weights:
        log.warning("model_has_random_weights", model=entry.name, generates="noise")
    return loaded


def _on_device(
    entry: ModelEntry, first: Any, pipeline_classes: Pipelines, size: int
) -> LoadedModel:
    modules = tuple(_modules(first))
    family = family_of(first)
    safety = SafetyChecker.detach_from(first)
    _check(entry, first, safety)
    pipelines = {
        endpoint: pipeline_classes[endpoint].from_pipe(first, dtype=first.dtype)
        for endpoint in entry.endpoints
    }
    for pipeline in pipelines.values():
        pipeline.set_progress_bar_config(disable=True)
    return LoadedModel(
        entry=entry,
        family=family,
        device=first.device,
        dtype=first.dtype,
        pipelines=pipelines,
        scheduler=_scheduler(entry, first),
        safety=safety,
        modules=modules,
        bytes=size,
    )


def _modules(pipeline: Any) -> Iterable[torch.nn.Module]:
    components = pipeline.components.values()
    return (component for component in components if isinstance(component, torch.nn.Module))


@contextmanager
def _configuration_errors(entry: ModelEntry) -> Iterator[None]:
    """Translate any exception in the block into a ConfigurationError that names the model."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"model {entry.name}: {entry.source} cannot be loaded: {error}; check that the hub "
            "can be reached and has that revision, or that the folder is complete, and that the "
            "device has room"
        ) from error


def _source(entry: ModelEntry, directory: Path) -> str:
    if entry.has_random_weights:
        return str(stand_in_folder(entry.source.removeprefix(RANDOM_PREFIX), directory))
    if Path(entry.source).is_absolute() and not Path(entry.source).is_dir():
        raise ConfigurationError(
            f"model {entry.name}: there is no folder {entry.source}; put the weights there "
            "in diffusers' layout (model_index.json at its top), or correct `source`"
        )
    return entry.source


def _first_pipeline(entry: ModelEntry, source: str, device: torch.device) -> tuple[Any, Pipelines]:
    """Load the weights; return a pipeline with them, and the model's pipeline classes by endpoint.

    The weights are in host memory, in the precision they will have on `device`.
    """
    index = index_of(source, entry.revision)
    class_name = str(index[CLASS])
    pipelines = pipelines_of(class_name)
    if missing := set(entry.endpoints) - set(pipelines):
        can = ", ".join(sorted(pipelines)) or "none of inpaint, img2img and text2img"
        raise ConfigurationError(
            f"model {entry.name}: {source} holds a {class_name}, for which diffusers has no "
            f"pipeline that does {', '.join(sorted(missing))}; it can do {can}"
        )
    without_checker = {"safety_checker": None, "requires_safety_checker": False}
    # Components declared absent in the index; diffusers takes some for missing unless told again.
    absent = {name: None for name, component in index.items() if component == [None, None]}
    # By the class it was saved under: another may require components that the weights lack.
    saved = (
        pipeline_class
        for pipeline_class in pipelines.values()
        if pipeline_class.__name__ == class_name
    )
    pipeline = next(saved, pipelines[entry.endpoints[0]]).from_pretrained(
        source,
        revision=entry.revision,
        dtype=torch.float32 if device.type == "cpu" else getattr(torch, entry.dtype),
        use_safetensors=True,  # the older format executes code when it is read
        **(absent if entry.safety_checker else absent | without_checker),
    )
    return pipeline, pipelines


def _check(entry: ModelEntry, pipeline: Any, safety: SafetyChecker | None) -> None:
    if entry.safety_checker and safety is None:
        raise ConfigurationError(
            f"model {entry.name}: its weights hold no safety checker; set safety_checker = false"
        )
    others = set(entry.endpoints) - {Endpoint.INPAINT}
    unet = pipeline.components.get("unet")
    if others and unet is not None and unet.config.in_channels == _INPAINTING_CHANNELS:
        raise ConfigurationError(
            f"model {entry.name}: it is made for inpainting only, but its endpoints include "
            + ", ".join(sorted(others))
        )


def _scheduler(entry: ModelEntry, pipeline: Any) -> Any:
    if entry.scheduler is None:
        return pipeline.scheduler
    scheduler = scheduler_named(entry.scheduler, pipeline.scheduler)
    if scheduler is None:
        raise ConfigurationError(
            f"model {entry.name}: no scheduler {entry.scheduler} fits it; there are "
            + ", ".join(scheduler_names(pipeline.scheduler))
        )
    return scheduler
