"""Fixtures of the messaging tests: clients of a real Redis."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from common.messaging.connection import connect
from common.settings import RedisSettings
from tests.integration.messaging.listening import Rows


@pytest.fixture
def redis_settings(redis_url: str) -> RedisSettings:
    """Settings with a short timeout, so that a wait that exceeds it shows soon."""
    return RedisSettings(url=SecretStr(redis_url), timeout_seconds=0.4, ring_limit=5)


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator[Redis]:
    async with connect(redis_settings) as client:
        yield client


@pytest.fixture
def rows() -> Rows:
    return Rows()
