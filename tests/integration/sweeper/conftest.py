"""A sweeper's surroundings."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from common.messaging.announcer import Announcer
from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.postgres.database import Database
from common.settings import DatabaseSettings, JobSettings, RedisSettings, WebhookSettings
from tests.support.jobs import NO_GRACE, QUEUE, Owner, new_owner
from worker.maintenance.sweeper import Sweeper


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(url=SecretStr(database_url)), application="tests")
    yield database
    await database.aclose()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(RedisSettings(url=SecretStr(redis_url)))
    yield client
    await client.aclose()


@pytest.fixture
async def owner(database: Database) -> Owner:
    return await new_owner(database)


@pytest.fixture
def sweeper(database: Database, redis: Redis) -> Sweeper:
    doorbell = Doorbell(redis, RedisSettings())
    announcer = Announcer(redis, doorbell)
    settings = JobSettings(sweep_seconds=0.02)
    return Sweeper(
        database,
        doorbell,
        announcer,
        settings,
        WebhookSettings(),
        queues=(QUEUE, "other"),
        grace=NO_GRACE,
    )
