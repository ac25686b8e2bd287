"""Whose request it is: from an API key to its tenant."""

from typing import Any, Final

from starlette.requests import Request

from api.refusals import InvalidKeyError
from common.clock import monotonic
from common.database import Database
from common.domain.api_key import digest, is_well_formed
from common.repositories.tenants import find_key_owner
from common.settings import GatewaySettings

REMEMBERED_KEYS: Final = 10_000
BEARER: Final = "bearer "


class KeyRing:
    """Looks API keys up, and trusts what it found for a few seconds.

    Keys that work and keys that do not are remembered apart: a flood of invented ones cannot
    push out the ones in use. Junk is told by its checksum and never reaches the database.
    """

    def __init__(self, database: Database, settings: GatewaySettings) -> None:
        self._database = database
        self._pepper = settings.required_pepper()
        self._seconds = settings.auth_cache_seconds
        self._owners: dict[bytes, tuple[float, int]] = {}
        self._unknown: dict[bytes, tuple[float, None]] = {}

    async def find_tenant(self, key: str | None) -> int:
        """Give the id of the tenant that owns `key`.

        Raises:
            InvalidKeyError: there is no key, or none that works.
        """
        if key is None or not is_well_formed(key):
            raise InvalidKeyError
        fingerprint = digest(key, self._pepper)
        known = self._owners.get(fingerprint) or self._unknown.get(fingerprint)
        if known is not None and known[0] > monotonic():
            tenant_id = known[1]
        else:
            tenant_id = await self._look_up(fingerprint)
        if tenant_id is None:
            raise InvalidKeyError
        return tenant_id

    async def _look_up(self, fingerprint: bytes) -> int | None:
        async with self._database.statement() as connection:
            tenant_id = await find_key_owner(connection, fingerprint)
        until = monotonic() + self._seconds
        self._owners.pop(fingerprint, None)
        self._unknown.pop(fingerprint, None)
        if tenant_id is None:
            _remember(self._unknown, fingerprint, (until, None))
        else:
            _remember(self._owners, fingerprint, (until, tenant_id))
        return tenant_id


def _remember(kept: dict[bytes, Any], fingerprint: bytes, entry: tuple[float, int | None]) -> None:
    if len(kept) >= REMEMBERED_KEYS:
        del kept[next(iter(kept))]  # dicts keep their order: this is the oldest
    kept[fingerprint] = entry


def sent_key(request: Request, fields: dict[str, Any]) -> str | None:
    """Find the API key: in the body, in the header `key`, or as a bearer token."""
    key = fields.get("key") or request.headers.get("key")
    if isinstance(key, str) and key.strip():
        return key.strip()
    token = request.headers.get("authorization", "")
    return token[len(BEARER) :].strip() if token.lower().startswith(BEARER) else None
