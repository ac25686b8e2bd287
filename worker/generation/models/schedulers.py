"""Choosing a diffusers scheduler by name, and a fresh one for every image."""

from typing import Any

import diffusers

from common.domain.schedulers import SCHEDULER_NAMES, find_scheduler


def scheduler_named(name: str, template: Any) -> Any | None:
    """Give the scheduler of that name, with the settings of `template` below its own.

    `name` is any that `common.domain.schedulers` knows, or the class of `template` itself. None
    if it is neither.
    """
    entry = find_scheduler(name)
    if entry is not None:
        return getattr(diffusers, entry.class_name).from_config(template.config, **entry.settings)
    # Weights may come with a scheduler that the table lacks, and say which.
    return fresh(template) if name == type(template).__name__ else None


def fresh(template: Any) -> Any:
    """Give a scheduler like `template` without its history: one image's steps leave traces."""
    return type(template).from_config(template.config)


def scheduler_names(template: Any) -> list[str]:
    """Give the names `scheduler_named` knows for the model of `template`, without the aliases."""
    own = type(template).__name__
    return [*SCHEDULER_NAMES, *([] if find_scheduler(own) else [own])]
