"""Authenticate tenants by API keys."""

import math
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from api.errors.api_error import WrongKeyError
from common.domain.api_key import digest, is_well_formed
from common.domain.errors import ConfigurationError, InvalidLimitsError
from common.domain.limits import Limits
from common.postgres.database import Database
from common.postgres.repositories.tenants.authentication import KeyOwner, find_key_owner
from common.runtime.single_flight import Reading, SingleFlightCache
from common.settings import GatewaySettings

CACHED_KEYS: Final = 10_000
BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class AuthenticatedTenant:
    """The tenant that sent a request; `limits` are its plan's limits, overridden by its own."""

    tenant_id: int
    limits: Limits


class ApiKeyAuthenticator:
    """Authenticator of API keys; caches results, also of invalid keys, for `auth_cache_seconds`.

    A revoked key, a disabled tenant or a changed limit takes effect when the cache entry expires;
    an expired key is rejected at once. A key with a wrong checksum is rejected without a query.
    """

    def __init__(self, database: Database, settings: GatewaySettings) -> None:
        self._database = database
        self._pepper = settings.require_pepper()
        self._cache_seconds = settings.auth_cache_seconds
        self._tenants = SingleFlightCache(
            self._look_up, capacity=CACHED_KEYS, negative_capacity=CACHED_KEYS
        )

    async def authenticate(self, key: str | None) -> AuthenticatedTenant:
        """Return the tenant that owns the API key `key`.

        Raises:
            WrongKeyError: the key is missing, malformed, unknown, revoked or expired.
        """
        if key is None or not is_well_formed(key):
            raise WrongKeyError
        tenant = (await self._tenants.get(digest(key, self._pepper))).value
        if tenant is None:
            raise WrongKeyError
        return tenant

    async def _look_up(self, key_digest: bytes) -> Reading[AuthenticatedTenant | None]:
        async with self._database.direct() as connection:
            owner = await find_key_owner(connection, key_digest)
        if owner is None:
            return Reading(None, self._cache_seconds)
        tenant = AuthenticatedTenant(owner.tenant_id, _combined_limits(owner))
        seconds_left = math.inf if owner.seconds_left is None else owner.seconds_left
        return Reading(tenant, min(self._cache_seconds, seconds_left))


def _combined_limits(owner: KeyOwner) -> Limits:
    try:
        return Limits.from_json(owner.plan_limits, owner.tenant_limits)
    except InvalidLimitsError as error:
        # Guessed limits would charge or block a tenant wrongly; the caller cannot correct them.
        raise ConfigurationError(
            f"the limits of tenant {owner.tenant_id} and its plan cannot be read: {error.message}"
        ) from error


def find_field_key(fields: dict[str, Any]) -> str | None:
    """Return the API key from the field `key` of a body, or None if the field has no text."""
    key = fields.get("key")
    return (key.strip() or None) if isinstance(key, str) else None


def find_header_key(request: Request) -> str | None:
    """Return the API key from the header `key` or the bearer token, or None if neither is sent."""
    key = request.headers.get("key", "").strip()
    if key:
        return key
    token = request.headers.get("authorization", "")
    return token[len(BEARER) :].strip() if token.lower().startswith(BEARER) else None
