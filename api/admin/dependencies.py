"""Authentication of operators, as FastAPI dependencies."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.body.json_documents import JsonDocument, json_body_after
from api.errors.api_error import WrongKeyError
from api.services import Services
from common.domain.api_key import KeyKind
from common.operations.audit import Operator
from common.postgres.database import Database

PREFIX: Final = "/admin/v1"
_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="admin key", description="`adm_…`")


@dataclass(frozen=True, slots=True)
class OperatorContext:
    """An authenticated operator, and the services a route works with."""

    services: Services
    operator: Operator

    @property
    def database(self) -> Database:
        """The database connections that row-level security does not restrict to one tenant."""
        return self.services.operator_database


async def authenticate(
    request: Request,
    sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> OperatorContext:
    """Return the operator a request comes from.

    Raises:
        HTTPException: 404 while the admin API is not enabled.
        WrongKeyError: there is no admin key, or none that works.
    """
    services: Services = request.app.state.services
    if not services.admin_keys.is_enabled:
        raise HTTPException(404)
    name = None if sent is None else await services.admin_keys.authenticate(sent.credentials)
    if name is None:
        raise WrongKeyError(KeyKind.ADMIN)
    return OperatorContext(services, Operator.with_admin_key(name))


CurrentOperator = Annotated[OperatorContext, Depends(authenticate)]

D = TypeVar("D", bound=JsonDocument)


def json_body(kind: type[D]) -> Callable[[Request, object], Awaitable[D]]:
    """Return the dependency that reads a body of `kind` after authentication."""
    return json_body_after(authenticate, kind)
