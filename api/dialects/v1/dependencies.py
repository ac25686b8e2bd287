"""Letting tenants in; a request takes a token like one that draws."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response
from structlog.contextvars import bind_contextvars

from api.auth.api_keys import AuthenticatedTenant, sent_key
from api.body.json_documents import JsonDocument, json_body_after
from api.body.rendering import json_result
from api.limits.headers import RateLimitSnapshot
from api.services import Services

PREFIX: Final = "/api/v1"
_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="API key", description="`inf_…`")


@dataclass(frozen=True, slots=True)
class TenantContext:
    """A tenant that was let in, with what is left of its requests, None without a limit."""

    services: Services
    caller: AuthenticatedTenant
    standing: RateLimitSnapshot | None

    def json_result(self, answer: Any, *, status: int = 200) -> Response:
        """Give a response that tells the answer, and what is left."""
        headers = None if self.standing is None else self.standing.headers
        return json_result(answer, status=status, headers=headers)


async def authenticate(
    request: Request,
    # Named for the documentation: the header `key` is taken, too, as on v3.
    _sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> TenantContext:
    """Let a tenant in.

    Raises:
        WrongKeyError: no API key came, or none that works.
        RateExceededError: the tenant's plan allows no more requests for now.
    """
    services: Services = request.app.state.services
    caller = await services.keys.find_caller(sent_key(request, {}))
    bind_contextvars(tenant_id=caller.tenant_id)
    return TenantContext(services, caller, await services.rates.admit(caller))


CurrentTenant = Annotated[TenantContext, Depends(authenticate)]

D = TypeVar("D", bound=JsonDocument)


def json_body(kind: type[D]) -> Callable[[Request, object], Awaitable[D]]:
    """Give the dependency that reads a body of that kind, once the tenant was let in."""
    return json_body_after(authenticate, kind)
