"""`infill migrate` and `infill bucket` are idempotent, and explain an unavailable server."""

import asyncio
import os
import sys
from uuid import uuid4

import asyncpg
import pytest
from click.testing import CliRunner
from types_boto3_s3 import S3Client

from common.domain.errors import ConfigurationError, StorageUnavailableError
from common.postgres.schema import NOT_MIGRATED
from common.settings import StorageSettings
from deploy.cli.main import infill
from deploy.local.servers.ports import LOOPBACK, free_port
from tests.conftest import Servers


async def run(*arguments: str) -> str:
    """Run a command in a thread: it opens an event loop of its own."""

    def invoke() -> str:
        return CliRunner().invoke(infill, arguments, catch_exceptions=False).output

    return await asyncio.to_thread(invoke)


@pytest.fixture
async def empty_database_url(servers: Servers) -> str:
    name = f"empty_{uuid4().hex}"
    await servers.postgres.ensure_database(name)
    return servers.postgres.url(name)


def name_store(monkeypatch: pytest.MonkeyPatch, settings: StorageSettings) -> None:
    assert settings.endpoint_url is not None
    monkeypatch.setenv("INFILL_S3_ENDPOINT_URL", settings.endpoint_url)
    key_id, secret = settings.fixed_keys or ("", "")
    monkeypatch.setenv("INFILL_S3_ACCESS_KEY_ID", key_id)
    monkeypatch.setenv("INFILL_S3_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("INFILL_S3_BUCKET", settings.bucket)


async def test_an_empty_database_is_brought_up_to_date(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFILL_DATABASE_URL", empty_database_url)
    assert await run("migrate") == "the database is up to date\n"
    assert await run("migrate") == "the database is up to date\n"
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT count(*) FROM jobs") == 0
    await connection.close()


async def test_commands_on_an_empty_database_name_the_command_to_run(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "INFILL_DATABASE_URL": empty_database_url}  # noqa: TID251
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli", "tenants", "list"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert output.decode() == f"infill: {NOT_MIGRATED}\n"
    assert process.returncode == 1
    monkeypatch.setenv("INFILL_DATABASE_URL", empty_database_url)
    await run("migrate")
    assert await run("tenants", "list") != ""


async def test_two_migrations_at_once_both_succeed(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFILL_DATABASE_URL", empty_database_url)
    command = (sys.executable, "-m", "deploy.cli", "migrate")
    both = [await asyncio.create_subprocess_exec(*command) for _ in range(2)]
    assert [await process.wait() for process in both] == [0, 0]


async def test_migrating_without_postgres_is_a_readable_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INFILL_DATABASE_URL", f"postgresql://x@{LOOPBACK}:{free_port()}/x")
    with pytest.raises(ConfigurationError, match="Postgres cannot be reached"):
        await run("migrate")


async def test_the_bucket_is_created_once_and_keeps_its_objects(
    servers: Servers, s3_client: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"made-{uuid4().hex}"
    name_store(monkeypatch, servers.s3.settings(name))
    assert await run("bucket") == f"the bucket {name} exists\n"
    await asyncio.to_thread(s3_client.put_object, Bucket=name, Key="kept", Body=b"x")
    assert await run("bucket") == f"the bucket {name} exists\n"
    listed = await asyncio.to_thread(s3_client.list_objects_v2, Bucket=name)
    assert [entry["Key"] for entry in listed["Contents"]] == ["kept"]


async def test_a_store_that_rejects_us_is_a_readable_error(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = servers.s3.settings(f"never-{uuid4().hex}")
    name_store(monkeypatch, settings)
    monkeypatch.setenv("INFILL_S3_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StorageUnavailableError) as caught:
        await run("bucket")
    assert "CreateBucket" in caught.value.detail
