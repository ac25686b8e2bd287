"""The limits of a tenant: the plan's limits, overridden by the tenant's own."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from common.domain.errors import InvalidLimitsError

# Greatest Postgres integer: the counters compared with these limits cannot exceed it.
MAX_COUNT: Final = 2**31 - 1
# Each request of a tenant with a quota sums up its queued jobs: a bound on what that may cost.
MAX_QUEUED_UNDER_QUOTA: Final = 100_000
# Beside a tenant with a weight a million times as great, another would get practically nothing.
MIN_WEIGHT: Final = 0.001
MAX_WEIGHT: Final = 1000.0
# Exact in a float to three decimal places, and more than a thousand GPUs do in a thousand years.
MAX_MONTHLY_CREDITS: Final = 1e12


@dataclass(frozen=True, slots=True)
class Limits:
    """The effective limits of one tenant; None means unlimited.

    `weight` is the tenant's share of the GPUs relative to other tenants with queued jobs: weight 2
    gets twice as much as weight 1. `max_running` limits the tenant's running jobs in all queues
    together, `max_running_per_queue` those in each queue. `max_pixels` is the maximum width ×
    height of one image. `models` are the names of the models that the tenant may use. A credit is a
    megapixel-step (`GenerationRequest.cost`); a month is a calendar month in UTC. With
    `require_safety_checker`, images are checked even if a request disables the safety checker.
    """

    weight: float = 1.0
    requests_per_minute: int | None = None
    max_queued: int | None = None
    max_running: int | None = None
    max_running_per_queue: int | None = None
    max_pixels: int | None = None
    max_inference_steps: int | None = None
    models: tuple[str, ...] | None = None
    monthly_credits: float | None = None
    require_safety_checker: bool = False

    @classmethod
    def from_json(cls, *stored: Mapping[str, Any]) -> Self:
        """Return the limits merged from stored mappings; a later mapping overrides an earlier one.

        Raises:
            InvalidLimitsError: a limit is unknown or invalid; the message names every such limit
                and its valid values.
        """
        merged = {name: value for part in stored for name, value in part.items()}
        _check(merged)
        if merged.get("models") is not None:
            merged["models"] = tuple(merged["models"])
        limits = cls(**merged)
        limits._check_quota()
        return limits

    def to_json(self) -> dict[str, Any]:
        """Return the limits as a JSON object for storage, omitting limits with default values."""
        unlimited = Limits()
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value != getattr(unlimited, name)
        }

    def _check_quota(self) -> None:
        queued = self.max_queued
        if self.monthly_credits is not None and (queued is None or queued > MAX_QUEUED_UNDER_QUOTA):
            raise InvalidLimitsError(
                {
                    "monthly_credits": "can be set only if max_queued is also set, to at most "
                    f"{MAX_QUEUED_UNDER_QUOTA}"
                }
            )


NAMES: Final = frozenset(field.name for field in fields(Limits))


def _check(given: Mapping[str, Any]) -> None:
    """Raise `InvalidLimitsError` unless every limit is known and its value is valid."""
    wrong = {}
    for name, value in given.items():
        if name not in NAMES:
            wrong[name] = f"is not a limit; the limits are: {', '.join(sorted(NAMES))}"
        elif problem := _problem(name, value):
            wrong[name] = problem
    if wrong:
        raise InvalidLimitsError(wrong)


def _problem(name: str, value: Any) -> str | None:
    """Return a description of the valid values of limit `name`, or None if `value` is valid."""
    match name:
        case "weight":
            good = _is_number(value) and MIN_WEIGHT <= value <= MAX_WEIGHT
            return None if good else f"must be a number from {MIN_WEIGHT} to {MAX_WEIGHT:g}"
        case "monthly_credits":
            good = value is None or (_is_number(value) and 0 <= value <= MAX_MONTHLY_CREDITS)
            return None if good else f"must be null or a number from 0 to {MAX_MONTHLY_CREDITS:.0f}"
        case "models":
            good = value is None or _are_names(value)
            return None if good else "must be null or a list of model names"
        case "require_safety_checker":
            return None if isinstance(value, bool) else "must be true or false"
        case _:
            lowest = 0 if name == "max_queued" else 1
            good = value is None or (type(value) is int and lowest <= value <= MAX_COUNT)
            return None if good else f"must be null or a whole number from {lowest} to {MAX_COUNT}"


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(name, str) and name.isprintable() and name for name in value
    )
