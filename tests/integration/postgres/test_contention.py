"""Defaults of the database that the sessions override, and repetition after contention."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import column, make_url, text

from common.postgres.database import Database
from common.settings import DatabaseSettings, Settings, StorageSettings
from tests.integration.api.gateways import make_settings, open_gateway
from tests.support.requests import INPAINT_BODY

STRICT: Final = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "row_security": "off",
}
SUBMISSIONS: Final = 60

# Fails with the error of contention until it has been called `times` times.
CONTENDED: Final = """
CREATE SEQUENCE calls;
CREATE FUNCTION contended(times int, state text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE call bigint := nextval('calls');
BEGIN
    IF call < times THEN RAISE 'contention' USING ERRCODE = state; END IF;
    RETURN call;
END $$
"""
CALL: Final = text("SELECT contended(CAST(:times AS int), CAST(:state AS text))").columns(
    column("contended")
)


@pytest.fixture
async def strict_url(database_url: str) -> str:
    """Return the URL of a database whose defaults would break our statements."""
    owner = await asyncpg.connect(database_url)
    for name, value in STRICT.items():
        await owner.execute(
            f"ALTER DATABASE \"{make_url(database_url).database}\" SET {name} = '{value}'"
        )
    await owner.close()
    return database_url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    owner = await asyncpg.connect(database_url)
    await owner.execute(CONTENDED)
    await owner.close()
    opened = Database(DatabaseSettings(url=SecretStr(database_url)), application="test")
    yield opened
    await opened.aclose()


async def test_the_defaults_of_the_database_cause_no_errors(
    strict_url: str, redis_url: str, bucket: StorageSettings
) -> None:
    settings: Settings = make_settings(strict_url, redis_url, bucket)
    settings.database = settings.database.model_copy(update={"connect_timeout_seconds": 60.0})
    async with open_gateway(settings) as gateway:

        async def submit() -> Any:
            return await gateway.post("inpaint", INPAINT_BODY)

        responses = await asyncio.gather(*(submit() for _ in range(SUBMISSIONS)))
        assert {response["status"] for response in responses} == {"processing"}
        assert await gateway.count_jobs() == SUBMISSIONS


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_statement_is_repeated_after_contention(database: Database, state: str) -> None:
    async with database.direct() as connection:
        result = await connection.execute(CALL, {"times": 3, "state": state})
    assert result.scalar() == 3


async def test_lasting_contention_is_an_error(database: Database) -> None:
    with pytest.raises(asyncpg.SerializationError):
        async with database.direct() as connection:
            await connection.execute(CALL, {"times": 99, "state": "40001"})
    async with database.direct() as connection:
        assert (await connection.execute(CALL, {"times": 0, "state": ""})).scalar() == 5
