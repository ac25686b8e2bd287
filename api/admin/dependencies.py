"""Letting operators in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.body.json_documents import JsonDocument, json_body_after
from api.errors.api_error import WrongKeyError
from api.services import Services
from common.domain.api_key import KeyKind
from common.operations.operator import Operator
from common.postgres.database import Database

PREFIX: Final = "/admin/v1"
_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="admin key", description="`adm_…`")


@dataclass(frozen=True, slots=True)
class OperatorContext:
    """An operator who was let in, and what they work on."""

    services: Services
    operator: Operator

    @property
    def database(self) -> Database:
        """Where use-cases of operators run: no tenant's walls stand in it."""
        return self.services.operators


async def authenticate(
    request: Request,
    sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> OperatorContext:
    """Let an operator in.

    Raises:
        HTTPException: 404 while there is no admin API.
        WrongKeyError: no admin key came, or none that works.
    """
    services: Services = request.app.state.services
    if not services.admin_keys.is_open:
        raise HTTPException(404)
    name = None if sent is None else await services.admin_keys.find_name(sent.credentials)
    if name is None:
        raise WrongKeyError(KeyKind.ADMIN)
    return OperatorContext(services, Operator.with_admin_key(name))


CurrentOperator = Annotated[OperatorContext, Depends(authenticate)]

D = TypeVar("D", bound=JsonDocument)


def json_body(kind: type[D]) -> Callable[[Request, object], Awaitable[D]]:
    """Give the dependency that reads a body of that kind, once the operator was let in."""
    return json_body_after(authenticate, kind)
