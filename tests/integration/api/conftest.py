from collections.abc import AsyncIterator

import pytest

from common.settings import Settings, StorageSettings
from tests.integration.api.gateways import Gateway, make_settings, open_gateway


@pytest.fixture
def settings(database_url: str, redis_url: str, bucket: StorageSettings) -> Settings:
    """Return settings of a gateway that responds at once, without waiting for jobs."""
    return make_settings(database_url, redis_url, bucket)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with open_gateway(settings) as opened:
        yield opened


@pytest.fixture
async def patient_gateway(
    database_url: str, redis_url: str, bucket: StorageSettings
) -> AsyncIterator[Gateway]:
    """Yield a gateway that makes callers wait for their jobs."""
    settings = make_settings(database_url, redis_url, bucket, sync_wait_seconds=30)
    async with open_gateway(settings) as opened:
        yield opened
