"""FastAPI dependencies that authenticate a tenant and apply its rate limit."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response
from structlog.contextvars import bind_contextvars

from api.auth.api_keys import AuthenticatedTenant, find_header_key
from api.body.json_documents import JsonDocument, json_body_after
from api.body.json_response import json_result
from api.limits.headers import RateLimitSnapshot
from api.services import Services

PREFIX: Final = "/api/v1"
_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="api_key", description="`inf_…`")


@dataclass(frozen=True, slots=True)
class TenantContext:
    """The authenticated tenant of a request, and its rate limit's state (None if unlimited)."""

    services: Services
    tenant: AuthenticatedTenant
    rate_limit: RateLimitSnapshot | None

    @property
    def tenant_id(self) -> int:
        """The id of the authenticated tenant."""
        return self.tenant.tenant_id

    def json_result(self, result: Any, *, status: int = 200) -> Response:
        """Return a JSON response with `result` and the rate limit headers."""
        headers = None if self.rate_limit is None else self.rate_limit.headers
        return json_result(result, status=status, headers=headers)


async def authenticate(
    request: Request,
    # For the OpenAPI document; the header `key` is accepted, too, as on v3.
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> TenantContext:
    """Authenticate the tenant by the request's API key, and take one token from its bucket.

    Raises:
        WrongKeyError: the API key is missing, malformed, unknown, revoked or expired.
        RateExceededError: the tenant's rate limit has been reached.
    """
    services: Services = request.app.state.services
    tenant = await services.api_keys.authenticate(find_header_key(request))
    bind_contextvars(tenant_id=tenant.tenant_id)
    return TenantContext(services, tenant, await services.rate_limiter.take_token(tenant))


CurrentTenant = Annotated[TenantContext, Depends(authenticate)]

D = TypeVar("D", bound=JsonDocument)


def json_body(kind: type[D]) -> Callable[[Request, object], Awaitable[D]]:
    """Return a dependency that authenticates the tenant, then parses the JSON body as `kind`."""
    return json_body_after(authenticate, kind)
