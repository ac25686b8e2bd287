"""Fixtures of the dispatcher tests: Postgres, Redis, S3 and a receiver on loopback."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Network

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from common.messaging.connection import connect
from common.object_store.storage import Storage
from common.outbound import Guard
from common.postgres.database import Database
from common.settings import (
    DatabaseSettings,
    OutboundSettings,
    RedisSettings,
    StorageSettings,
)
from tests.integration.dispatcher.harness import DispatcherHarness
from tests.support.jobs import Owner, create_owner
from tests.support.receiver import Receiver, receiving

LOOPBACK_OPEN = OutboundSettings(
    allowed_ports=frozenset({0}), allowed_networks=(IPv4Network("127.0.0.0/8"),)
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(url=SecretStr(database_url)), application="tests")
    yield database
    await database.aclose()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(RedisSettings(url=SecretStr(redis_url), timeout_seconds=60.0))
    yield client
    await client.aclose()


@pytest.fixture
def storage(bucket: StorageSettings) -> Storage:
    return Storage(bucket)


@pytest.fixture
async def guard() -> AsyncIterator[Guard]:
    guard = Guard(LOOPBACK_OPEN)
    yield guard
    await guard.aclose()


@pytest.fixture
async def owner(database: Database) -> Owner:
    return await create_owner(database)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def harness(database: Database, redis: Redis, storage: Storage, guard: Guard) -> DispatcherHarness:
    return DispatcherHarness(database, redis, storage, guard)
