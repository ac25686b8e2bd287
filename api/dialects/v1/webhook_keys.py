"""The public keys receivers verify our webhooks with."""

from fastapi import APIRouter, Request, Response

from api.body.json_response import json_response
from api.services import Services
from common.settings import WebhookSettings
from common.standard_webhooks.client import load_installation_key
from common.standard_webhooks.keys import key_id, public_key

router = APIRouter(tags=["webhooks"])


def published_keys(settings: WebhookSettings) -> list[dict[str, str]]:
    """Give the public half of the signing key; nothing where webhooks are signed with v1 alone.

    Raises:
        ConfigurationError: the signing key cannot be read.
    """
    key = load_installation_key(settings)
    if key is None:
        return []
    return [{"kid": key_id(key), "alg": "ed25519", "public_key": public_key(key)}]


@router.get("/.well-known/infill-webhook-keys")
async def webhook_keys(request: Request) -> Response:
    """Give the keys `v1a` signatures are verified with."""
    services: Services = request.app.state.services
    return json_response({"keys": published_keys(services.settings.webhooks)})
