"""Authenticate operators by admin keys."""

import hmac
import math
from typing import Final

from common.domain.api_key import KeyKind, digest, is_well_formed
from common.operations.admin_keys import SETTING_NAME
from common.postgres.database import Database
from common.postgres.repositories.tenants.admin_keys import use_admin_key
from common.runtime.single_flight import Reading, SingleFlightCache
from common.settings import GatewaySettings

CACHED_KEYS: Final = 1000


class AdminKeyAuthenticator:
    """Authenticator of admin keys; caches valid keys for `auth_cache_seconds`.

    A revoked key is accepted until its cache entry expires; an expired key is rejected at once.
    Invalid keys are not cached, because most of them fail the checksum, which is verified
    without a query.
    """

    def __init__(self, database: Database, settings: GatewaySettings) -> None:
        self._database = database
        self._pepper = settings.require_pepper()
        self._cache_seconds = settings.auth_cache_seconds
        key = settings.admin_key
        self._key_of_settings = None if key is None else key.get_secret_value().encode()
        self._names = SingleFlightCache(self._look_up, capacity=CACHED_KEYS)

    @property
    def is_enabled(self) -> bool:
        """Whether the admin API is enabled, that is, whether the setting `admin_key` is set."""
        return self._key_of_settings is not None

    async def authenticate(self, key: str) -> str | None:
        """Return the name of the admin key if it is valid, otherwise None."""
        if self._key_of_settings is not None and hmac.compare_digest(
            key.encode(), self._key_of_settings
        ):
            return SETTING_NAME
        if not is_well_formed(key, KeyKind.ADMIN):
            return None
        return (await self._names.get(digest(key, self._pepper))).value

    async def _look_up(self, key_digest: bytes) -> Reading[str | None]:
        async with self._database.statement() as connection:
            key = await use_admin_key(connection, key_digest)
        if key is None:
            return Reading(None, 0.0)
        seconds_left = math.inf if key.seconds_left is None else key.seconds_left
        return Reading(key.name, min(self._cache_seconds, seconds_left))
