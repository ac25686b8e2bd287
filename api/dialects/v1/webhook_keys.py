"""Route that publishes the public keys with which receivers verify webhook signatures."""

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from api.body.json_response import json_response
from api.services import Services
from common.settings import WebhookSettings
from common.standard_webhooks.client import load_installation_key
from common.standard_webhooks.keys import key_id, public_key

router = APIRouter(tags=["webhooks"])


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A public key of the installation, its algorithm, and the `kid` that signatures name."""

    kid: str
    alg: str
    public_key: str


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """Response body: the public keys of the installation."""

    keys: list[PublishedKey]


def published_keys(settings: WebhookSettings) -> list[PublishedKey]:
    """Return the installation's public keys; the list is empty if only `v1` signatures are used.

    Raises:
        ConfigurationError: the signing key is malformed.
    """
    key = load_installation_key(settings)
    if key is None:
        return []
    return [PublishedKey(key_id(key), "ed25519", public_key(key))]


@router.get("/.well-known/infill-webhook-keys", response_model=PublishedKeys)
async def webhook_keys(request: Request) -> Response:
    """Return the public keys with which receivers verify `v1a` signatures."""
    services: Services = request.app.state.services
    return json_response({"keys": published_keys(services.settings.webhooks)})
