"""What was found or done, as an answer."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from common.operations.json_output import encode_json


def json_result(
    answer: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Give a response that tells what a use-case gave."""
    return Response(encode_json(answer), status, headers, media_type="application/json")
