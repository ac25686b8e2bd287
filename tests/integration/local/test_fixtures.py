"""The fixtures used by every other integration test."""

import asyncpg
from redis.asyncio import Redis
from types_boto3_s3 import S3Client

from common.settings import StorageSettings


async def test_a_database_is_migrated_and_fresh(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM alembic_version") == 1
    assert await connection.fetchval("SELECT count(*) FROM jobs") == 0
    await connection.close()


def test_a_synchronous_test_can_use_the_fixtures(
    database_url: str, redis_url: str, bucket: StorageSettings
) -> None:
    assert database_url.startswith("postgresql://")
    assert redis_url.startswith("redis://")
    assert bucket.endpoint_url


async def test_redis_is_empty(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")


async def test_redis_is_empty_for_the_next_test(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0


async def test_a_bucket_is_empty(bucket: StorageSettings, s3_client: S3Client) -> None:
    assert "Contents" not in s3_client.list_objects_v2(Bucket=bucket.bucket)
