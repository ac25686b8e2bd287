"""Route that publishes the public keys with which receivers verify webhook signatures."""

from fastapi import APIRouter, Request, Response

from api.body.json_response import json_response
from api.services import Services
from common.settings import WebhookSettings
from common.standard_webhooks.client import load_installation_key
from common.standard_webhooks.keys import key_id, public_key

router = APIRouter(tags=["webhooks"])


def published_keys(settings: WebhookSettings) -> list[dict[str, str]]:
    """Return the installation's public keys; the list is empty if only `v1` signatures are used.

    Raises:
        ConfigurationError: the signing key is malformed.
    """
    key = load_installation_key(settings)
    if key is None:
        return []
    return [{"kid": key_id(key), "alg": "ed25519", "public_key": public_key(key)}]


@router.get("/.well-known/infill-webhook-keys")
async def webhook_keys(request: Request) -> Response:
    """Return the public keys with which receivers verify `v1a` signatures."""
    services: Services = request.app.state.services
    return json_response({"keys": published_keys(services.settings.webhooks)})
