from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from common.settings import Settings
from tests.integration.api.admin.harness import KEY, AdminHarness
from tests.integration.api.gateways import open_gateway


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[AdminHarness]:
    settings.gateway = settings.gateway.model_copy(update={"admin_key": SecretStr(KEY)})
    async with open_gateway(settings) as gateway:
        yield AdminHarness(gateway)
