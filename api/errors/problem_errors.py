"""Why a face that speaks in problems turns a request away before anything is asked of the rows.

ProblemError
├── WrongAdminKeyError    401
├── WrongApiKeyError      401
├── NotJsonError          415
├── BrokenJsonError       400
├── TooManyAtOnceError    429
└── InvalidFieldsError    422; every bad field is named
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from common.domain.errors import InfillError

FieldProblem = Mapping[str, str]


class ProblemError(InfillError):
    """Root of the tree; `errors` says of each bad field what would be right."""

    code = "problem"
    status: ClassVar[int]
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, message: str, errors: Sequence[FieldProblem] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class WrongAdminKeyError(ProblemError):
    """No admin key came, or none that works."""

    code = "wrong_admin_key"
    status = 401
    headers: ClassVar[Mapping[str, str]] = {"www-authenticate": "Bearer"}

    def __init__(self) -> None:
        super().__init__("Send a live admin key as `Authorization: Bearer …`.")


class WrongApiKeyError(ProblemError):
    """No API key came, or none that works."""

    code = "wrong_api_key"
    status = 401
    headers: ClassVar[Mapping[str, str]] = {"www-authenticate": "Bearer"}

    def __init__(self) -> None:
        super().__init__(
            "Send a live API key as `Authorization: Bearer …`. Keys start with `inf_`."
        )


class NotJsonError(ProblemError):
    """The body says it is something else than JSON."""

    code = "unsupported_media_type"
    status = 415

    def __init__(self) -> None:
        super().__init__("Send the body as `Content-Type: application/json`.")


class BrokenJsonError(ProblemError):
    """The body cannot be read as JSON."""

    code = "malformed_body"
    status = 400


class TooManyAtOnceError(ProblemError):
    """As many requests of this kind are under way as may be."""

    code = "too_many_at_once"
    status = 429
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "2"}

    def __init__(self) -> None:
        super().__init__("Wait for the answers to the requests of this kind that are under way.")


class InvalidFieldsError(ProblemError):
    """Some fields are not right."""

    code = "invalid_fields"
    status = 422

    def __init__(self, errors: Sequence[FieldProblem]) -> None:
        super().__init__("Some values cannot be taken; `errors` says of each why.", errors)
