"""The models that a tenant may use for an endpoint."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.domain.errors import UnsupportedRequestError
from common.domain.generation import Endpoint
from common.domain.limits import Limits
from common.settings.catalogue import Catalogue, ModelEntry


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
