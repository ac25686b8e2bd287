from collections.abc import AsyncIterator
from ipaddress import IPv4Network

import pytest
from pydantic import SecretStr

from common.settings import OutboundSettings, Settings, WebhookSettings
from common.standard_webhooks.keys import new_signing_key
from tests.integration.api.gateways import open_gateway
from tests.integration.api.v1.harness import WebhookHarness
from tests.support.receiver import Receiver, receiving


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return settings that allow receivers on loopback and have a signing key."""
    settings.outbound = OutboundSettings(
        allowed_ports=frozenset({0}), allowed_networks=(IPv4Network("127.0.0.1/32"),)
    )
    settings.webhooks = WebhookSettings(
        signing_key=SecretStr(new_signing_key()), timeout_seconds=5, response_bytes=64
    )
    return settings


@pytest.fixture
async def webhooks(settings: Settings) -> AsyncIterator[WebhookHarness]:
    async with open_gateway(settings) as gateway:
        yield WebhookHarness(gateway)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver
