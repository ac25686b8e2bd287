"""Whose admin key it is."""

import hmac
from typing import Final

from api.auth.key_cache import trusted_seconds
from common.domain.api_key import KeyKind, digest, is_well_formed
from common.operations.admin_keys import SETTING_NAME
from common.postgres.database import Database
from common.postgres.repositories.tenants.admin_keys import use_admin_key
from common.runtime.clock import monotonic
from common.runtime.single_flight import remember
from common.settings import GatewaySettings

REMEMBERED_KEYS: Final = 1000


class AdminKeyAuthenticator:
    """Looks admin keys up, and trusts those that work for as long as API keys are trusted.

    So a revoked one is noticed that much later, and an expired one at once.
    Those that do not work are not remembered: junk is told by its checksum, and never reaches
    the database.
    """

    def __init__(self, database: Database, settings: GatewaySettings) -> None:
        self._database = database
        self._pepper = settings.require_pepper()
        self._seconds = settings.auth_cache_seconds
        key = settings.admin_key
        self._first = None if key is None else key.get_secret_value().encode()
        self._live: dict[bytes, tuple[float, str]] = {}

    @property
    def is_open(self) -> bool:
        """Whether there is an admin API at all: it has to be asked for in the settings."""
        return self._first is not None

    async def find_name(self, key: str) -> str | None:
        """Give the name of a key that works, None for any other."""
        if self._first is not None and hmac.compare_digest(key.encode(), self._first):
            return SETTING_NAME
        if not is_well_formed(key, KeyKind.ADMIN):
            return None
        fingerprint = digest(key, self._pepper)
        until, name = self._live.get(fingerprint, (0.0, ""))
        return name if until > monotonic() else await self._look_up(fingerprint)

    async def _look_up(self, fingerprint: bytes) -> str | None:
        begun = monotonic()
        async with self._database.statement() as connection:
            key = await use_admin_key(connection, fingerprint)
        self._live.pop(fingerprint, None)
        if key is None:
            return None
        until = begun + trusted_seconds(self._seconds, key.seconds_left)
        remember(self._live, fingerprint, (until, key.name), most=REMEMBERED_KEYS)
        return key.name
