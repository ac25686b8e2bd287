"""Hooks of schemathesis: values that only the gateway can create, and the accepted differences."""

import os
from typing import Any, Final

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response

_API_KEY: Final = os.environ["API_KEY"]  # noqa: TID251 - set by the test
_ADDRESS: Final = os.environ["ADDRESS"]  # noqa: TID251 - set by the test
# A random text is neither a key nor an address that the gateway may call.
_REPLACED: Final = {
    "key": _API_KEY,
    **dict.fromkeys(("init_image", "mask_image", "webhook", "url"), _ADDRESS),
}
# Schemathesis learns these names from responses, and would disable the tenant.
_PROTECTED: Final = {"tenant": "alice", "plan": "gold"}
# Fields whose values depend on the installation's models, or that it does not support.
_LEFT_OUT: Final = (
    *("model_id", "scheduler", "embeddings_model"),
    *("multi_lingual", "panorama", "self_attention", "upscale"),
)
# Requests that agree with the document and are rejected all the same: by the field and the words of
# the error, why.
_BEYOND_SCHEMAS: Final = {
    ("cursor", ""): "only the gateway can create a cursor",
    ("until", "must not be earlier than since"): "a schema cannot compare two parameters",
    ("#/expires_at", "must be in the future"): "a schema does not know the time",
    ("#/limits/monthly_credits", "can be set only if max_queued is also set"): (
        "a tenant's own limits may rely on `max_queued` of its plan"
    ),
    ("#/url", ""): "a schema cannot tell which addresses the gateway may call",
    ("webhook", ""): "the same",
    ("image", ""): "the same, and a schema does not know what an image is",
    ("mask", ""): "the same",
    ("size", ""): "the product of the sides is limited",
    ("scheduler", ""): "as above",
    ("safety_checker", "has no safety checker"): "not every model has one",
}


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]
) -> None:
    """Make v3 requests acceptable, and keep admin requests off the tenant that sends them."""
    if case.path.startswith("/api/v3/") and isinstance(case.body, dict):
        case.body = _acceptable(case.body)
    for parameter, name in _PROTECTED.items():
        if case.path_parameters.get(parameter) == name:
            case.path_parameters[parameter] = "missing"


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """Replace the addresses in a body by one that the gateway accepts."""
    return _acceptable(body) if isinstance(body, dict) else body


def _acceptable(body: dict[str, Any]) -> dict[str, Any]:
    """Replace or omit the fields of a body for which random values are never accepted."""
    return {
        name: _REPLACED.get(name, value) if isinstance(value, str) else value
        for name, value in body.items()
        if name not in _LEFT_OUT
    }


@schemathesis.hook
def filter_failure(
    _context: schemathesis.HookContext,
    failure: Failure,
    _case: schemathesis.Case[Any],
    response: Response,
) -> bool:
    """Keep every failure but a rejection for a reason that no schema can express."""
    if failure.title != "Schema-valid request rejected":
        return True
    body = response.json()
    problems = body.get("errors", ())
    if isinstance(body.get("error"), dict):  # of the OpenAI dialect
        problems = [{"parameter": body["error"]["param"], "detail": body["error"]["message"]}]
    return not problems or not all(_is_beyond_schemas(problem) for problem in problems)


def _is_beyond_schemas(problem: dict[str, str]) -> bool:
    field = problem.get("pointer") or problem.get("parameter")
    return any(field == name and words in problem["detail"] for name, words in _BEYOND_SCHEMAS)
