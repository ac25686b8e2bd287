"""Choosing a diffusers scheduler by name, and a fresh one for every image."""

from copy import deepcopy
from typing import Any, Final
from weakref import WeakKeyDictionary

import diffusers

from common.domain.schedulers import SCHEDULER_NAMES, find_scheduler

# Made once for each template, and copied: some lay out a thousand steps as they are made, which
# takes a third of a second in which an engine would stand still. A copy takes a third of a
# millisecond.
_TEMPLATES: Final[WeakKeyDictionary[Any, dict[str, Any]]] = WeakKeyDictionary()


def scheduler_named(name: str, template: Any) -> Any | None:
    """Give a fresh scheduler of that name, with the settings of `template` below its own.

    `name` is any that `common.domain.schedulers` knows, or the class of `template` itself. None
    if it is neither, or does not fit the model.
    """
    entry = find_scheduler(name)
    if entry is None or not _supports_table(template):
        # Weights may come with a scheduler that the table lacks, and say which.
        return fresh_scheduler(template) if name == type(template).__name__ else None
    templates = _TEMPLATES.setdefault(template, {})
    if entry.name not in templates:
        kind = getattr(diffusers, entry.class_name)
        templates[entry.name] = kind.from_config(template.config, **entry.settings)
    return fresh_scheduler(templates[entry.name])


def fresh_scheduler(template: Any) -> Any:
    """Give a scheduler like `template`, which is never run itself: one image's steps leave traces.

    So schedulers can be had on several threads at once.
    """
    return deepcopy(template)


def scheduler_names(template: Any) -> list[str]:
    """Give the names `scheduler_named` knows for the model of `template`, without the aliases."""
    own = type(template).__name__
    if not _supports_table(template):
        return [own]
    return [*SCHEDULER_NAMES, *([] if find_scheduler(own) else [own])]


def _supports_table(template: Any) -> bool:
    """Tell whether the model was trained as the table's schedulers expect: for steps of noise.

    One that was trained for a flow between noise and picture is published with schedulers that
    diffusers calls compatible with none, or with one of these that was switched over.
    """
    if template.config.get("use_flow_sigmas"):
        return False
    is_known = find_scheduler(type(template).__name__) is not None
    return is_known or diffusers.DDIMScheduler in template.compatibles
