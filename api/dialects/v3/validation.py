"""What fields are judged by beside themselves: the guard, the models, the tenant's limits."""

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

REFUSED: Final = "refused"  # the type of errors that bring their whole sentence along


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models a caller may use for an endpoint.

    `usable` is never empty, and its first is used where none is asked for; `unchecked` are those
    that only lack the safety checker that the tenant's plan requires. `on_plan` says that these
    are not all there are.
    """

    endpoint: Endpoint
    usable: tuple[ModelEntry, ...]
    unchecked: tuple[ModelEntry, ...] = ()
    on_plan: bool = False

    def pick(self, wanted: Any) -> ModelEntry:
        """Give the model called `wanted`; the first for anything that is no name of one."""
        name = wanted.strip() if isinstance(wanted, str) else None
        return next((entry for entry in self.usable if entry.name == name), self.usable[0])

    @property
    def wanted(self) -> str:
        """What a model's name must be, to complete a sentence."""
        where = " on your plan" if self.on_plan else ""
        return f"null or a model that serves {self.endpoint}{where}, of which there are: " + _names(
            self.usable
        )


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """What one request is judged by; `model` is the one of `choice` that will draw."""

    guard: Guard
    image_max_bytes: int
    model: ModelEntry
    limits: Limits
    choice: ModelChoice


def validation_context(info: ValidationInfo) -> ValidationContext:
    """Give what the body under validation is judged by."""
    return cast("ValidationContext", info.context)


def refuse(sentence: str) -> PydanticCustomError:
    """Make the error of a field that tells its caller `sentence`."""
    # The sentence goes in as a value: braces in it would be read as places to fill.
    return PydanticCustomError(REFUSED, "{sentence}", {"sentence": sentence})


def model_choice_for(catalogue: Catalogue, limits: Limits, endpoint: Endpoint) -> ModelChoice:
    """Find the models that serve `endpoint` and that `limits` allow.

    Raises:
        UnsupportedRequestError: there is none; says what there is.
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
            "Your plan requires the safety checker, and no model that serves "
            f"{endpoint} has one: {_names(unchecked)}."
        )
    where = "here" if limits.models is None else "on your plan"
    allowed = [
        entry for entry in catalogue.entries if limits.models is None or entry.name in limits.models
    ]
    raise UnsupportedRequestError(
        f"No model {where} serves {endpoint}; there are: {_names(allowed) or 'none'}."
    )


def _names(entries: Iterable[ModelEntry]) -> str:
    return ", ".join(entry.name for entry in entries)
