"""Choosing a diffusers scheduler by class name, and a fresh one for every image."""

from typing import Any

from diffusers.schedulers.scheduling_utils import SchedulerMixin


def scheduler_named(name: str, template: Any) -> Any | None:
    """Give a scheduler of class `name` with the settings of `template`.

    None if diffusers has none of that name that fits the model, or if it needs a package that
    is not installed.
    """
    chosen = _choices(template).get(name)
    return None if chosen is None else chosen.from_config(template.config)


def fresh(template: Any) -> Any:
    """Give a scheduler like `template` without its history: one image's steps leave traces."""
    return type(template).from_config(template.config)


def scheduler_names(template: Any) -> list[str]:
    """Give the names `scheduler_named` knows for the model of `template`, sorted."""
    return sorted(_choices(template))


def _choices(template: Any) -> dict[str, Any]:
    # diffusers puts placeholders where a package is missing: those are no schedulers.
    candidates = [type(template), *template.compatibles]
    return {kind.__name__: kind for kind in candidates if issubclass(kind, SchedulerMixin)}
