"""The kinds of fields that say how is drawn: model, scheduler, steps, checking, the mask's edge.

Most are judged by the model that will draw. As in `api.dialects.v3.fields`, a description
completes "The … must be".
"""

from math import ceil
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, ValidationInfo

from api.dialects.v3.fields import NoBool, YesNo
from api.dialects.v3.validation import refuse, validation_context
from common.domain.schedulers import (
    SCHEDULER_NAMES,
    SchedulerEntry,
    find_scheduler,
    find_unsupported_reason,
)

MOST_STEPS: Final = 51
MOST_GROWN: Final = 64
MOST_BLURRED: Final = 64
MOST_PADDED: Final = 256
_STEPS: Final = "a whole number from 1 to {most}"
_A_SCHEDULER: Final = (
    f"null or one of {', '.join(SCHEDULER_NAMES)}, or the name of one of their classes in diffusers"
)


def _model_id(value: str, info: ValidationInfo) -> str:
    choice = validation_context(info).choice
    if value == validation_context(info).model.name:
        return value
    why = ""
    if value in {entry.name for entry in choice.unchecked}:
        why = f"; your plan requires the safety checker, and {value} has none"
    raise refuse(f"The {info.field_name} field must be {choice.wanted}{why}.")


def _scheduler(value: str, info: ValidationInfo) -> str:
    entry = find_scheduler(value)
    if entry is not None:
        return entry.name
    reason = find_unsupported_reason(value)
    if reason is None:
        raise ValueError("no scheduler")
    raise refuse(f"The {info.field_name} field must be {_A_SCHEDULER}: {value} {reason}.")


def _steps(value: int, info: ValidationInfo) -> int:
    most = validation_context(info).limits.max_inference_steps
    if most is not None and value > most:
        raise refuse(
            f"The {info.field_name} field must be {_STEPS.format(most=most)} on your plan."
        )
    scheduler = _scheduler_used(info)
    if scheduler and scheduler.most_steps is not None and value > scheduler.most_steps:
        raise refuse(
            f"The {info.field_name} field must be {_STEPS.format(most=scheduler.most_steps)} "
            f"with the scheduler {scheduler.name}."
        )
    return value


def _strength(value: float, info: ValidationInfo) -> float:
    """Refuse what leaves a scheduler with few steps to lay out not a single one of them."""
    scheduler = _scheduler_used(info)
    if scheduler and scheduler.most_steps and int(scheduler.most_steps * value) < 1:
        least = ceil(1000 / scheduler.most_steps) / 1000
        raise refuse(
            f"The {info.field_name} field must be a number from {least:g} to 1 "
            f"with the scheduler {scheduler.name}."
        )
    return value


def _scheduler_used(info: ValidationInfo) -> SchedulerEntry | None:
    """Give the scheduler asked for or named for the model; None for one of the weights' own."""
    name: Any = info.data.get("scheduler") or validation_context(info).model.scheduler
    return find_scheduler(name) if name else None


def _safety(wanted: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - a validator's signature
    admission = validation_context(info)
    if wanted and not admission.model.safety_checker:
        checking = [entry.name for entry in admission.choice.usable if entry.safety_checker]
        others = f"; with one there are: {', '.join(checking)}" if checking else ""
        raise refuse(
            f"The {info.field_name} field must be no: "
            f"the model {admission.model.name} has no safety checker{others}."
        )
    return wanted or admission.limits.require_safety_checker


Steps = Annotated[
    Annotated[int, Field(ge=1, le=MOST_STEPS, description=_STEPS.format(most=MOST_STEPS)), NoBool],
    AfterValidator(_steps),
]
Strength = Annotated[
    Annotated[
        float,
        Field(gt=0, le=1, allow_inf_nan=False, description="a number above 0 and up to 1"),
        NoBool,
    ],
    AfterValidator(_strength),
]
Safety = Annotated[YesNo, AfterValidator(_safety)]
Grown = Annotated[
    int,
    Field(
        ge=-MOST_GROWN,
        le=MOST_GROWN,
        description=f"a whole number of pixels from -{MOST_GROWN} to {MOST_GROWN}",
    ),
    NoBool,
]
Blurred = Annotated[
    int,
    Field(ge=0, le=MOST_BLURRED, description=f"a whole number of pixels from 0 to {MOST_BLURRED}"),
    NoBool,
]

# Null comes as no field at all, so the validators of these never meet it.
OptionalModel = Annotated[
    Annotated[str, AfterValidator(_model_id)] | None,
    Field(description="null or the name of a model that serves this endpoint"),
]
OptionalScheduler = Annotated[
    Annotated[str, AfterValidator(_scheduler)] | None, Field(description=_A_SCHEDULER)
]
OptionalPadding = Annotated[
    Annotated[int, Field(ge=0, le=MOST_PADDED), NoBool] | None,
    Field(description=f"null or a whole number of pixels from 0 to {MOST_PADDED}"),
]
