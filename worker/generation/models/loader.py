"""From an entry of the models file to pipelines that are ready to run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import torch

from common.catalogue import RANDOM, ModelEntry
from common.clock import monotonic
from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from worker.generation.models.pipelines import Family, family_of, pipeline_named_in
from worker.generation.models.safety import SafetyChecker
from worker.generation.models.schedulers import scheduler_named, scheduler_names
from worker.generation.models.standin import standin_folder

log = structlog.get_logger(__name__)

_INPAINTING_CHANNELS = 9


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model's weights, shared by a pipeline for each endpoint it serves.

    `scheduler` is a template: each image is drawn with a fresh one like it.
    """

    pipelines: dict[Endpoint, Any]
    scheduler: Any
    safety: SafetyChecker | None


def chosen_device(wanted: str | None) -> torch.device:
    """Give the device named `wanted`; None means CUDA where there is one, else the CPU.

    Raises:
        ConfigurationError: torch knows no device of that name.
    """
    try:
        return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ConfigurationError(
            f"INFILL_WORKER_DEVICE: {wanted!r} is no torch device; cpu, cuda or cuda:0 would be"
        ) from error


def load_model(entry: ModelEntry, directory: Path, device: torch.device) -> LoadedModel:
    """Load the weights of `entry` onto `device`; stand-ins are kept in `directory`.

    Raises:
        ConfigurationError: the weights cannot be had, or are not what the entry says they are.
    """
    started = monotonic()
    with _explained(entry):
        first, family = _first_pipeline(entry, _source(entry, directory), device)
        safety = SafetyChecker.taken_from(first)
        _check(entry, first, safety)
        pipelines = {
            endpoint: family[endpoint].from_pipe(first, dtype=first.dtype)
            for endpoint in entry.endpoints
        }
        for pipeline in pipelines.values():
            pipeline.set_progress_bar_config(disable=True)
        loaded = LoadedModel(pipelines, _scheduler(entry, first), safety)
    log.info(
        "model_loaded",
        model=entry.name,
        device=str(device),
        seconds=round(monotonic() - started, 3),
    )
    if entry.has_random_weights:
        log.warning("model_has_random_weights", model=entry.name, draws="noise")
    return loaded


@contextmanager
def _explained(entry: ModelEntry) -> Iterator[None]:
    """Turn whatever loading fails with into the operator's error that names the model."""
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
        return str(standin_folder(entry.source.removeprefix(RANDOM), directory))
    if Path(entry.source).is_absolute() and not Path(entry.source).is_dir():
        raise ConfigurationError(
            f"model {entry.name}: there is no folder {entry.source}; put the weights there "
            "in diffusers' layout (model_index.json at its top), or correct `source`"
        )
    return entry.source


def _first_pipeline(entry: ModelEntry, source: str, device: torch.device) -> tuple[Any, Family]:
    class_name = pipeline_named_in(source, entry.revision)
    family = family_of(class_name)
    if family is None:
        raise ConfigurationError(
            f"model {entry.name}: {source} holds a {class_name}; "
            "Stable Diffusion and Stable Diffusion XL can be run"
        )
    without_checker = {"safety_checker": None, "requires_safety_checker": False}
    pipeline = family[entry.endpoints[0]].from_pretrained(
        source,
        revision=entry.revision,
        dtype=torch.float32 if device.type == "cpu" else getattr(torch, entry.dtype),
        use_safetensors=True,  # the older format runs code when it is read
        **({} if entry.safety_checker else without_checker),
    )
    return pipeline.to(device), family


def _check(entry: ModelEntry, pipeline: Any, safety: SafetyChecker | None) -> None:
    if entry.safety_checker and safety is None:
        raise ConfigurationError(
            f"model {entry.name}: its weights hold no safety checker; set safety_checker = false"
        )
    others = set(entry.endpoints) - {Endpoint.INPAINT}
    if others and pipeline.unet.config.in_channels == _INPAINTING_CHANNELS:
        raise ConfigurationError(
            f"model {entry.name}: it is made for inpainting alone, yet its endpoints name "
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
