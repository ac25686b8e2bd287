"""Field types of the admin API whose rules `common.operations` checks, documented in OpenAPI."""

from typing import Annotated, Any, Final

from fastapi import Path
from pydantic import AfterValidator, BeforeValidator, Field

from common.domain.limits import (
    MAX_COUNT,
    MAX_MONTHLY_CREDITS,
    MAX_QUEUED_UNDER_QUOTA,
    MAX_WEIGHT,
    MIN_WEIGHT,
)
from common.domain.names import NAME_PATTERN


def _count(least: int = 1) -> dict[str, Any]:
    return {"type": ["integer", "null"], "minimum": least, "maximum": MAX_COUNT}


# The rules of `common.domain.limits`, which checks the limits and names every wrong one.
_LIMITS_SCHEMA: Final[dict[str, Any]] = {
    "description": "null means unlimited; a credit is a megapixel-step. `monthly_credits` needs "
    f"`max_queued`, of at most {MAX_QUEUED_UNDER_QUOTA}.",
    "additionalProperties": False,
    "properties": {
        "weight": {"type": "number", "minimum": MIN_WEIGHT, "maximum": MAX_WEIGHT},
        "requests_per_minute": _count(),
        "max_queued": _count(0),
        "max_running": _count(),
        "max_running_per_queue": _count(),
        "max_pixels": _count(),
        "max_inference_steps": _count(),
        "models": {
            "type": ["array", "null"],
            "items": {"type": "string", "pattern": "^[ -~]+$"},
            "description": "names of models; other printable characters are accepted, too",
        },
        "monthly_credits": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": MAX_MONTHLY_CREDITS,
        },
        "require_safety_checker": {"type": "boolean"},
    },
}
_NAME_SCHEMA: Final[dict[str, Any]] = {"pattern": NAME_PATTERN}


def _whole_number(value: Any) -> Any:
    """Return a float without a fraction as an int, since JSON does not distinguish the two."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole_limits(limits: dict[str, Any]) -> dict[str, Any]:
    return {name: _whole_number(value) for name, value in limits.items()}


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Name = Annotated[str, Field(json_schema_extra=_NAME_SCHEMA)]
PathName = Annotated[str, Path(json_schema_extra=_NAME_SCHEMA)]
LimitsObject = Annotated[
    dict[str, Any], AfterValidator(_whole_limits), Field(json_schema_extra=_LIMITS_SCHEMA)
]
