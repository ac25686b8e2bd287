"""The context for validating v3 fields: outbound guard, models and the tenant's limits."""

from dataclasses import dataclass
from typing import Final, cast

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

from api.jobs.model_choice import ModelChoice
from common.domain.limits import Limits
from common.outbound import Guard
from common.settings.catalogue import ModelEntry

WHOLE_SENTENCE: Final = "whole_sentence"  # the type of errors that carry their whole sentence


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """The context of one request; `model` is the model from `choice` that will serve it."""

    guard: Guard
    image_max_bytes: int
    model: ModelEntry
    limits: Limits
    choice: ModelChoice


def validation_context(info: ValidationInfo) -> ValidationContext:
    """Return the context passed to pydantic for the body being validated."""
    return cast("ValidationContext", info.context)


def field_error(sentence: str) -> PydanticCustomError:
    """Return a pydantic error whose complete message is `sentence`."""
    # Passed as a value, because pydantic would format braces in a message template.
    return PydanticCustomError(WHOLE_SENTENCE, "{sentence}", {"sentence": sentence})
