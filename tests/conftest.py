"""Fixtures of real servers from Python wheels, started once per test process."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import boto3
import hypothesis
import pytest
from botocore.config import Config
from redis.asyncio import Redis
from sqlalchemy import make_url
from types_boto3_s3 import S3Client

from common.domain.errors import ConfigurationError
from common.settings import StorageSettings
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.binaries import find_postgres_programs, find_rclone, find_redis_server
from deploy.local.servers.ports import free_ports
from deploy.local.servers.postgres import PostgresServer
from deploy.local.servers.redis import RedisServer
from deploy.local.servers.s3 import S3Server
from tests.support.tcp_proxy import Proxy, proxy

TEMPLATE = "template_migrated"

# The time of an example depends on the machine's load, not on whether the code is right.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@dataclass(frozen=True, slots=True)
class Servers:
    """The three servers, all running."""

    postgres: PostgresServer
    redis: RedisServer
    s3: S3Server


async def migrate(url: str) -> None:
    from deploy.cli.migrate import upgrade  # noqa: PLC0415 - only tests with a database need it

    await upgrade(url)


def require_server_wheels() -> None:
    """Skip the test if a server is not installed, unless in CI, where that is an error."""
    try:
        for find in (find_postgres_programs, find_redis_server, find_rclone):
            find()
    except ConfigurationError as error:
        if os.environ.get("CI"):  # noqa: TID251 - not a setting of ours
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Servers]:
    """Start Postgres, Redis and S3 on free ports; their data go when the tests end."""
    require_server_wheels()
    with tempfile.TemporaryDirectory(prefix="infill-tests-") as folder:
        home = Path(folder)
        postgres_port, redis_port, s3_port = free_ports(3)
        running = Servers(
            PostgresServer(home, postgres_port, uuid4().hex, durable=False),
            RedisServer(home, redis_port),
            S3Server(home, s3_port, "test-key", uuid4().hex),
        )
        async with Supervisor(home / "logs") as supervisor:
            for server in (running.postgres, running.redis, running.s3):
                await server.prepare()
                await supervisor.start(server.child())
            yield running


@pytest.fixture(scope="session")
async def template_database(servers: Servers) -> str:
    """Migrate one database, for all others to be copied from."""
    await servers.postgres.ensure_database(TEMPLATE)
    await migrate(servers.postgres.url(TEMPLATE))
    return TEMPLATE


@asynccontextmanager
async def fresh_database(servers: Servers, template: str) -> AsyncIterator[str]:
    """Yield the URL of a copy of the database `template`."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(servers.postgres.url("postgres"))
    try:
        # Half the time of the default strategy, since nothing waits for the disk (`fsync` is off).
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        yield servers.postgres.url(name)
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


@pytest.fixture
async def database_url(servers: Servers, template_database: str) -> AsyncIterator[str]:
    """Yield the URL of a fresh, migrated database."""
    async with fresh_database(servers, template_database) as url:
        yield url


@pytest.fixture
async def database_proxy(database_url: str) -> AsyncIterator[Proxy]:
    """Yield a proxy to the server of that database, which can be stalled."""
    port = make_url(database_url).port
    assert port is not None
    async with proxy(port) as between:
        yield between


@pytest.fixture
async def redis_url(servers: Servers) -> str:
    """Return the URL of an empty Redis."""
    async with Redis.from_url(servers.redis.url()) as client:
        await client.flushall()
    return servers.redis.url()


@pytest.fixture(scope="session")
def s3_client(servers: Servers) -> S3Client:
    """Return a plain S3 client, to look at the store without our own code."""
    settings = servers.s3.settings()
    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=servers.s3.access_key_id,
        aws_secret_access_key=servers.s3.secret_access_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


@pytest.fixture
async def bucket(servers: Servers, s3_client: S3Client) -> StorageSettings:
    """Return the settings of a fresh, empty bucket."""
    return await fresh_bucket(servers, s3_client)


async def fresh_bucket(servers: Servers, s3_client: S3Client) -> StorageSettings:
    """Create an empty bucket and return its settings."""
    name = f"test-{uuid4().hex}"
    await asyncio.to_thread(s3_client.create_bucket, Bucket=name)
    return servers.s3.settings(name)
