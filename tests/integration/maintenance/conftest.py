"""Fixtures of the maintenance tests: a tenant with stored images, and a sweeper."""

import asyncio

import pytest
from redis.asyncio import Redis
from types_boto3_s3 import S3Client

from common.messaging.announcer import Announcer
from common.messaging.doorbell import Doorbell
from common.object_store.storage import Storage
from common.postgres.database import Database
from common.settings import JobSettings, RedisSettings, StorageSettings, WebhookSettings
from tests.integration.dispatcher.conftest import owner, redis, storage
from tests.integration.maintenance.stored_objects import StoredJobs
from tests.integration.repositories.conftest import database, make_tenant
from tests.support.jobs import NO_GRACE, QUEUE
from worker.maintenance.sweeper import Sweeper

__all__ = ["database", "owner", "redis", "storage"]  # fixtures from other modules


@pytest.fixture
async def stored_jobs(
    database: Database, storage: Storage, bucket: StorageSettings, s3_client: S3Client
) -> StoredJobs:
    tenant = await make_tenant(database, "alice")
    return StoredJobs(tenant, storage, s3_client, bucket.bucket, asyncio.Event())


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
