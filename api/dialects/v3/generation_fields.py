"""Field types of v3 that control generation: model, scheduler, steps, safety, mask edge.

Most are validated against the model that will serve the request. As in `api.dialects.v3.fields`,
each description completes the error sentence "The … field must be".
"""

from math import ceil
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, ValidationInfo

from api.dialects.v3.fields import NoBool, YesNo
from api.dialects.v3.validation import field_error, validation_context
from common.domain.schedulers import (
    SCHEDULER_NAMES,
    SchedulerEntry,
    find_scheduler,
    find_unsupported_reason,
)

MAX_STEPS: Final = 51
MAX_GROW: Final = 64
MAX_BLUR: Final = 64
MAX_PADDING: Final = 256
_STEPS: Final = "a whole number from 1 to {most}"
_A_SCHEDULER: Final = (
    f"null, one of {', '.join(SCHEDULER_NAMES)}, or the diffusers class name of one of these"
)


def _model_id(value: str, info: ValidationInfo) -> str:
    choice = validation_context(info).choice
    if value == validation_context(info).model.name:
        return value
    why = ""
    if value in {entry.name for entry in choice.unchecked}:
        why = f"; your plan requires the safety checker, and {value} has none"
    raise field_error(f"The {info.field_name} field must be {choice.rule}{why}.")


def _scheduler(value: str, info: ValidationInfo) -> str:
    entry = find_scheduler(value)
    if entry is not None:
        return entry.name
    reason = find_unsupported_reason(value)
    if reason is None:
        raise ValueError("not a scheduler")
    raise field_error(f"The {info.field_name} field must be {_A_SCHEDULER}: {value} {reason}.")


def _steps(value: int, info: ValidationInfo) -> int:
    most = validation_context(info).limits.max_inference_steps
    if most is not None and value > most:
        raise field_error(
            f"The {info.field_name} field must be {_STEPS.format(most=most)} on your plan."
        )
    scheduler = _scheduler_used(info)
    if scheduler and scheduler.most_steps is not None and value > scheduler.most_steps:
        raise field_error(
            f"The {info.field_name} field must be {_STEPS.format(most=scheduler.most_steps)} "
            f"with the scheduler {scheduler.name}."
        )
    return value


def _strength(value: float, info: ValidationInfo) -> float:
    """Reject a strength so low that a scheduler with few steps would not run a single step."""
    scheduler = _scheduler_used(info)
    if scheduler and scheduler.most_steps and int(scheduler.most_steps * value) < 1:
        least = ceil(1000 / scheduler.most_steps) / 1000
        raise field_error(
            f"The {info.field_name} field must be a number from {least:g} to 1 "
            f"with the scheduler {scheduler.name}."
        )
    return value


def _scheduler_used(info: ValidationInfo) -> SchedulerEntry | None:
    """Return the requested scheduler, or the model's configured default; None if neither is set."""
    name: Any = info.data.get("scheduler") or validation_context(info).model.scheduler
    return find_scheduler(name) if name else None


def _safety(enabled: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - a validator's signature
    context = validation_context(info)
    if enabled and not context.model.safety_checker:
        checking = [entry.name for entry in context.choice.usable if entry.safety_checker]
        others = f"; models with one: {', '.join(checking)}" if checking else ""
        raise field_error(
            f'The {info.field_name} field must be "no" because '
            f"the model {context.model.name} has no safety checker{others}."
        )
    return enabled or context.limits.require_safety_checker


Steps = Annotated[
    Annotated[int, Field(ge=1, le=MAX_STEPS, description=_STEPS.format(most=MAX_STEPS)), NoBool],
    AfterValidator(_steps),
]
Strength = Annotated[
    Annotated[
        float,
        Field(gt=0, le=1, allow_inf_nan=False, description="a number greater than 0 and at most 1"),
        NoBool,
    ],
    AfterValidator(_strength),
]
Safety = Annotated[YesNo, AfterValidator(_safety)]
Grow = Annotated[
    int,
    Field(
        ge=-MAX_GROW,
        le=MAX_GROW,
        description=f"a whole number of pixels from -{MAX_GROW} to {MAX_GROW}",
    ),
    NoBool,
]
Blur = Annotated[
    int,
    Field(ge=0, le=MAX_BLUR, description=f"a whole number of pixels from 0 to {MAX_BLUR}"),
    NoBool,
]

# Null comes as no field at all, so the validators of these never meet it.
OptionalModel = Annotated[
    Annotated[str, AfterValidator(_model_id)] | None,
    Field(description="null or the name of a model that supports this endpoint"),
]
OptionalScheduler = Annotated[
    Annotated[str, AfterValidator(_scheduler)] | None, Field(description=_A_SCHEDULER)
]
OptionalPadding = Annotated[
    Annotated[int, Field(ge=0, le=MAX_PADDING), NoBool] | None,
    Field(description=f"null or a whole number of pixels from 0 to {MAX_PADDING}"),
]
