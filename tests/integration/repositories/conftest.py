"""A migrated database with two tenants in it."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from common.postgres.database import Database
from common.postgres.repositories.tenants.tenants import create_tenant
from common.settings import DatabaseSettings
from tests.integration.repositories.support.tenant_rows import TenantRows


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    settings = DatabaseSettings(url=SecretStr(database_url), pool_size=20)
    opened = Database(settings, application="test")
    yield opened
    await opened.aclose()


async def make_tenant(database: Database, name: str) -> TenantRows:
    async with database.statement() as connection:
        tenant_id = await create_tenant(connection, name)
    assert tenant_id is not None
    return TenantRows(database, tenant_id)


@pytest.fixture
async def alice(database: Database) -> TenantRows:
    """A tenant and its rows."""
    return await make_tenant(database, "alice")


@pytest.fixture
async def bob(database: Database) -> TenantRows:
    """Another tenant and its rows."""
    return await make_tenant(database, "bob")
