"""Authenticate operators, as FastAPI dependencies."""

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
_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="admin_key", description="`adm_…`")


@dataclass(frozen=True, slots=True)
class OperatorContext:
    """The authenticated operator of a request, and the gateway's shared services."""

    services: Services
    operator: Operator

    @property
    def database(self) -> Database:
        """Database access to the data of all tenants, not restricted by row-level security."""
        return self.services.operator_database


async def authenticate(
    request: Request,
    sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> OperatorContext:
    """Authenticate the operator by the admin key in the bearer token, and return the context.

    Raises:
        HTTPException: 404 if the admin API is not enabled.
        WrongKeyError: the admin key is missing, unknown, revoked or expired.
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
    """Return a dependency that authenticates the operator, then parses the JSON body as `kind`."""
    return json_body_after(authenticate, kind)
