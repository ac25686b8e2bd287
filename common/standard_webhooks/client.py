"""Sign and send webhooks, both deliveries and webhook pings."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.outbound import Guard, WebhookResponse
from common.runtime.clock import utc_now
from common.settings import WebhookSettings
from common.standard_webhooks.keys import load_signing_key
from common.standard_webhooks.signing import signed_headers

FIXED_HEADERS: Final = {
    "content-type": "application/json",
    "user-agent": f"Infill/{version('infill')}",
}


def load_installation_key(settings: WebhookSettings) -> Ed25519PrivateKey | None:
    """Return the installation's `v1a` signing key, or None if only `v1` is used.

    Raises:
        ConfigurationError: the key is malformed.
    """
    key = settings.signing_key
    return None if key is None else load_signing_key(key.get_secret_value())


class WebhookClient:
    """Client that posts webhooks through the guard; if `key` is set, it adds `v1a` signatures."""

    def __init__(
        self, guard: Guard, settings: WebhookSettings, key: Ed25519PrivateKey | None
    ) -> None:
        self._guard = guard
        self._settings = settings
        self._key = key

    def build_headers(
        self, webhook_id: UUID, body: bytes, secrets: Iterable[str]
    ) -> dict[str, str]:
        """Return the headers for a webhook that is sent now, including its signatures."""
        signed = signed_headers(webhook_id, utc_now(), body, secrets=secrets, key=self._key)
        return FIXED_HEADERS | signed

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> WebhookResponse:
        """Send a webhook and return the receiver's response, whatever its status.

        Raises:
            AddressNotAllowedError: the address is not allowed.
            FetchFailedError: no response was received in time; `reason` is a one-word cause, such
                as `timeout`.
        """
        return await self._guard.post(
            url,
            headers=headers,
            body=body,
            timeout_seconds=self._settings.timeout_seconds,
            response_bytes=self._settings.response_bytes,
        )
