"""What a use-case gave, as an answer."""

from typing import Any

from starlette.responses import Response

from common.operations.spelling import as_json


def told(answer: Any, *, status: int = 200) -> Response:
    """Give a response that tells what a use-case gave."""
    return Response(as_json(answer), status, media_type="application/json")
