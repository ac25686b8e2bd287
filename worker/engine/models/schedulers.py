"""Create diffusers noise schedulers by name, a new one for every image."""

from copy import deepcopy
from typing import Any, Final
from weakref import WeakKeyDictionary

import diffusers

from common.domain.schedulers import SCHEDULER_NAMES, find_scheduler

# Created once for each template, and copied: some compute a thousand timesteps at creation, which
# takes a third of a second. A copy takes a third of a millisecond.
_TEMPLATES: Final[WeakKeyDictionary[Any, dict[str, Any]]] = WeakKeyDictionary()


def scheduler_named(name: str, template: Any) -> Any | None:
    """Return a new scheduler `name`, with the configuration of `template` as defaults.

    `name` is a name that `common.domain.schedulers` knows, or the class name of `template`, which
    is the model's own scheduler. Return None if the name is unknown or the scheduler does not fit
    the model.
    """
    entry = find_scheduler(name)
    if entry is None or not _supports_table(template):
        # Weights may have a scheduler class that the table lacks, and a request may name it.
        return fresh_scheduler(template) if name == type(template).__name__ else None
    templates = _TEMPLATES.setdefault(template, {})
    if entry.name not in templates:
        kind = getattr(diffusers, entry.class_name)
        templates[entry.name] = kind.from_config(template.config, **entry.settings)
    return fresh_scheduler(templates[entry.name])


def fresh_scheduler(template: Any) -> Any:
    """Return a copy of the scheduler `template`; thread-safe.

    The template itself is never run, because running changes a scheduler's state.
    """
    return deepcopy(template)


def scheduler_names(template: Any) -> list[str]:
    """Return the names, without aliases, that `scheduler_named` accepts for this model.

    `template` is the model's own scheduler.
    """
    own = type(template).__name__
    if not _supports_table(template):
        return [own]
    return [*SCHEDULER_NAMES, *([] if find_scheduler(own) else [own])]


def _supports_table(template: Any) -> bool:
    """Return whether the model works with the schedulers of `common.domain.schedulers`.

    Flow matching models do not. They are published either with schedulers that diffusers lists as
    incompatible with all others, or with a common scheduler in flow mode (`use_flow_sigmas`).
    """
    if template.config.get("use_flow_sigmas"):
        return False
    is_known = find_scheduler(type(template).__name__) is not None
    return is_known or diffusers.DDIMScheduler in template.compatibles
