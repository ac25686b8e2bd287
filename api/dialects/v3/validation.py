"""The context that fields are validated in: the outbound guard, the models, the limits."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

from common.domain.errors import UnsupportedRequestError
from common.domain.generation import Endpoint
from common.domain.limits import Limits
from common.outbound import Guard
from common.settings.catalogue import Catalogue, ModelEntry

WHOLE_SENTENCE: Final = "whole_sentence"  # the type of errors that carry their whole sentence


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models a tenant may use for an endpoint.

    `usable` is never empty; its first is the default. `unchecked` lack only the safety checker
    that the tenant's plan requires. `on_plan` is true if the plan names the models.
    """

    endpoint: Endpoint
    usable: tuple[ModelEntry, ...]
    unchecked: tuple[ModelEntry, ...] = ()
    on_plan: bool = False

    def pick(self, requested: Any) -> ModelEntry:
        """Return the model named `requested`; the default for anything else."""
        name = requested.strip() if isinstance(requested, str) else None
        return next((entry for entry in self.usable if entry.name == name), self.usable[0])

    @property
    def rule(self) -> str:
        """The rule for `model_id`, as the end of "The … field must be"."""
        where = " on your plan" if self.on_plan else ""
        return f"null or a model that serves {self.endpoint}{where} ({_names(self.usable)})"


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """The context of one request; `model` is the one of `choice` that will serve it."""

    guard: Guard
    image_max_bytes: int
    model: ModelEntry
    limits: Limits
    choice: ModelChoice


def validation_context(info: ValidationInfo) -> ValidationContext:
    """Return the context of the body under validation."""
    return cast("ValidationContext", info.context)


def field_error(sentence: str) -> PydanticCustomError:
    """Return a validation error that shows `sentence` to the caller."""
    # Passed as a value, because pydantic would format braces in a message template.
    return PydanticCustomError(WHOLE_SENTENCE, "{sentence}", {"sentence": sentence})


def model_choice_for(catalogue: Catalogue, limits: Limits, endpoint: Endpoint) -> ModelChoice:
    """Return the models that serve `endpoint` and that `limits` allow.

    Raises:
        UnsupportedRequestError: there is none; the message names the models there are.
    """
    serving = catalogue.find_models(endpoint, limits.models)
    usable: tuple[ModelEntry, ...] = serving
    unchecked: tuple[ModelEntry, ...] = ()
    if limits.require_safety_checker:
        usable = tuple(entry for entry in serving if entry.safety_checker)
        unchecked = tuple(entry for entry in serving if not entry.safety_checker)
    if usable:
        return ModelChoice(endpoint, usable, unchecked, on_plan=limits.models is not None)
    if unchecked:
        raise UnsupportedRequestError(
            f"Your plan requires the safety checker, but no model that serves {endpoint} has one "
            f"({_names(unchecked)}). Ask the operator of this service to add such a model or to "
            "change your plan."
        )
    where, there = "of this service", "it has"
    if limits.models is not None:
        where, there = "on your plan", "your plan has"
    allowed = [
        entry for entry in catalogue.entries if limits.models is None or entry.name in limits.models
    ]
    raise UnsupportedRequestError(
        f"No model {where} serves {endpoint}; {there}: {_names(allowed) or 'none'}."
    )


def _names(entries: Iterable[ModelEntry]) -> str:
    return ", ".join(entry.name for entry in entries)
