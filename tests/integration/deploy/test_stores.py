"""The three stores of the local stack: started where no others are named."""

from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from common.object_store.storage import Storage
from common.settings import Settings
from common.settings.stores import StorageSettings
from deploy.local.local_secrets import load_or_create_secrets
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.stores import prepare_stores, start_stores

NAMED = {
    "INFILL_DATABASE_URL": "postgresql://them@db.example/x",
    "INFILL_REDIS_URL": "redis://redis.example/0",
    "INFILL_S3_ENDPOINT_URL": "https://s3.example",
}


async def test_stores_named_by_url_are_left_to_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NAMED.items():
        monkeypatch.setenv(name, value)
    messages: list[str] = []
    async with Supervisor(tmp_path / "logs") as supervisor:
        started = await start_stores(
            tmp_path, load_or_create_secrets(tmp_path), supervisor, messages.append
        )
    assert started == {}
    assert messages == []
    assert not (tmp_path / "postgres").exists()


async def test_stores_without_a_url_are_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMED:
        monkeypatch.delenv(name, raising=False)
    messages: list[str] = []
    async with Supervisor(tmp_path / "logs") as supervisor:
        started = await start_stores(
            tmp_path, load_or_create_secrets(tmp_path), supervisor, messages.append
        )
        for name, value in started.items():
            monkeypatch.setenv(name, value)
        await prepare_stores(Settings(), messages.append)
        connection = await asyncpg.connect(started["INFILL_DATABASE_URL"])
        assert await connection.fetchval("SELECT count(*) FROM tenants") == 0
        await connection.close()
        async with Redis.from_url(started["INFILL_REDIS_URL"]) as client:
            assert await client.ping()
        storage = Storage(StorageSettings())
        await storage.check()
        storage.close()
    assert messages == [
        "starting PostgreSQL",
        "starting Redis",
        "starting the S3 server",
        "migrating the database",
    ]
