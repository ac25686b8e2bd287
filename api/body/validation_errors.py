"""Messages that replace pydantic's messages for validation errors where these are unclear."""

from collections.abc import Mapping
from typing import Any, Final

_TIME: Final = "must be a date and time with a time zone, like 2027-01-31T00:00:00Z"
_DATE: Final = "must be a date, like 2027-01-31"
# By the type of the error. All patterns of these APIs exclude NUL, which Postgres cannot store.
_SENTENCES: Final = {
    "missing": "is required",
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_type": _TIME,
    "timezone_aware": _TIME,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
    "date_type": _DATE,
    "string_pattern_mismatch": "must not contain a NUL character (U+0000)",
}


def explain_problem(problem: Mapping[str, Any]) -> str:
    """Return our message for an error found by pydantic, or else pydantic's message."""
    return _SENTENCES.get(problem["type"]) or str(problem["msg"])
