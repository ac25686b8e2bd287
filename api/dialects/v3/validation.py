"""The context for validating v3 fields: outbound guard, models and the tenant's limits."""

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

    `usable` is never empty; its first model is the default. `unchecked` holds the models that are
    excluded only because they lack the safety checker that the plan requires. `on_plan` is true if
    the plan restricts the models.
    """

    endpoint: Endpoint
    usable: tuple[ModelEntry, ...]
    unchecked: tuple[ModelEntry, ...] = ()
    on_plan: bool = False

    def pick(self, requested: Any) -> ModelEntry:
        """Return the usable model named `requested`, or else the default model."""
        name = requested.strip() if isinstance(requested, str) else None
        return next((entry for entry in self.usable if entry.name == name), self.usable[0])

    @property
    def rule(self) -> str:
        """The valid values of `model_id`, worded to complete the sentence "The … field must be"."""
        where = " on your plan" if self.on_plan else ""
        return f"null or a model that supports {self.endpoint}{where} ({_names(self.usable)})"


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


def model_choice_for(catalogue: Catalogue, limits: Limits, endpoint: Endpoint) -> ModelChoice:
    """Return the models that serve `endpoint` and that the tenant's `limits` allow.

    Raises:
        UnsupportedRequestError: no such model exists; the message lists the models of the tenant.
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
            f"Your plan requires the safety checker, but no model that supports {endpoint} has one "
            f"({_names(unchecked)}). Ask the operator of this service to add such a model or to "
            "change your plan."
        )
    where, listed = "on this service", "Available models"
    if limits.models is not None:
        where, listed = "on your plan", "Models on your plan"
    allowed = [
        entry for entry in catalogue.entries if limits.models is None or entry.name in limits.models
    ]
    raise UnsupportedRequestError(
        f"No model {where} supports {endpoint}. {listed}: {_names(allowed) or 'none'}."
    )


def _names(entries: Iterable[ModelEntry]) -> str:
    return ", ".join(entry.name for entry in entries)
