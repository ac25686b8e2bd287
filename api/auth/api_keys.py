"""Whose request it is: from an API key to its tenant, and to what that tenant may use."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from api.auth.key_cache import trusted_seconds
from api.errors.api_error import WrongKeyError
from common.domain.api_key import digest, is_well_formed
from common.domain.errors import ConfigurationError, InvalidLimitsError
from common.domain.limits import Limits
from common.postgres.database import Database
from common.postgres.repositories.tenants.authentication import KeyOwner, look_up_key
from common.runtime.clock import monotonic
from common.runtime.single_flight import remember
from common.settings import GatewaySettings

REMEMBERED_KEYS: Final = 10_000
BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class AuthenticatedTenant:
    """The tenant a request comes from, with the limits of its plan and its own taken together."""

    tenant_id: int
    limits: Limits


class ApiKeyAuthenticator:
    """Looks API keys up, and trusts what it found for a few seconds.

    So a revoked key, a disabled tenant and changed limits are noticed that much later, and an
    expired key at once. Keys that work and keys that do not are remembered apart: a flood of
    invented ones cannot push out the ones in use. Junk is told by its checksum and never reaches
    the database.
    """

    def __init__(self, database: Database, settings: GatewaySettings) -> None:
        self._database = database
        self._pepper = settings.required_pepper()
        self._seconds = settings.auth_cache_seconds
        self._callers: dict[bytes, tuple[float, AuthenticatedTenant]] = {}
        self._unknown: dict[bytes, tuple[float, None]] = {}
        self._looking: dict[bytes, asyncio.Task[AuthenticatedTenant | None]] = {}

    async def find_caller(self, key: str | None) -> AuthenticatedTenant:
        """Give the tenant that owns `key`.

        Raises:
            WrongKeyError: there is no key, or none that works.
        """
        if key is None or not is_well_formed(key):
            raise WrongKeyError
        fingerprint = digest(key, self._pepper)
        known = self._callers.get(fingerprint) or self._unknown.get(fingerprint)
        if known is not None and known[0] > monotonic():
            caller = known[1]
        else:
            caller = await self._look_up_once(fingerprint)
        if caller is None:
            raise WrongKeyError
        return caller

    async def _look_up_once(self, fingerprint: bytes) -> AuthenticatedTenant | None:
        """Look a key up; requests that come meanwhile with the same key share the answer."""
        looking = self._looking.get(fingerprint)
        if looking is None:
            looking = asyncio.create_task(self._look_up(fingerprint))
            self._looking[fingerprint] = looking
            looking.add_done_callback(lambda _: self._looking.pop(fingerprint))
        return await asyncio.shield(looking)  # one who hangs up takes it from nobody else

    async def _look_up(self, fingerprint: bytes) -> AuthenticatedTenant | None:
        begun = monotonic()
        async with self._database.direct() as connection:
            owner = await look_up_key(connection, fingerprint)
        self._callers.pop(fingerprint, None)
        self._unknown.pop(fingerprint, None)
        if owner is None:
            remember(
                self._unknown, fingerprint, (begun + self._seconds, None), most=REMEMBERED_KEYS
            )
            return None
        caller = AuthenticatedTenant(owner.tenant_id, _limits(owner))
        until = begun + trusted_seconds(self._seconds, owner.seconds_left)
        remember(self._callers, fingerprint, (until, caller), most=REMEMBERED_KEYS)
        return caller


def _limits(owner: KeyOwner) -> Limits:
    try:
        return Limits.from_json(owner.plan_limits, owner.tenant_limits)
    except InvalidLimitsError as error:
        # To guess would charge somebody or shut somebody out; and it is not the caller's business.
        raise ConfigurationError(
            f"the limits of tenant {owner.tenant_id} and its plan cannot be read: {error.message}"
        ) from error


def sent_key(request: Request, fields: dict[str, Any]) -> str | None:
    """Find the API key: in the body, in the header `key`, or as a bearer token."""
    key = fields.get("key") or request.headers.get("key")
    if isinstance(key, str) and key.strip():
        return key.strip()
    token = request.headers.get("authorization", "")
    return token[len(BEARER) :].strip() if token.lower().startswith(BEARER) else None
