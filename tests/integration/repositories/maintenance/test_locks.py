"""An advisory lock has one holder."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from common.postgres.database import Database
from common.postgres.locks import Lock, try_lock
from common.settings import DatabaseSettings


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(DatabaseSettings(url=SecretStr(database_url)), application="test")
    yield opened
    await opened.aclose()


async def test_a_lock_has_one_holder(database: Database) -> None:
    engine = database.engine
    async with engine.connect() as second:
        async with engine.connect() as first:
            assert await try_lock(first, Lock.SWEEPER)
            assert await try_lock(first, Lock.SWEEPER)
            assert not await try_lock(second, Lock.SWEEPER)
            await first.commit()
            assert not await try_lock(second, Lock.SWEEPER), (
                "a commit is not the end of a connection"
            )
            await first.invalidate()  # as when its holder dies: the connection is gone
        assert await try_lock(second, Lock.SWEEPER)


async def test_each_maintenance_task_has_its_own_lock(database: Database) -> None:
    async with database.statement() as first, database.statement() as second:
        assert await try_lock(first, Lock.SWEEPER)
        assert await try_lock(second, Lock.RETENTION)
