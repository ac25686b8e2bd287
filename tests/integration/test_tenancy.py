from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from common import tenancy
from common.database import Database
from common.domain.api_key import digest, is_well_formed
from common.domain.errors import ConflictError, InvalidNameError, NotFoundError
from common.repositories.tenants import find_key_owner
from common.settings import DatabaseSettings


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(DatabaseSettings(url=SecretStr(database_url)), application="test")
    yield opened
    await opened.aclose()


async def owner(database: Database, key: str) -> int | None:
    async with database.statement() as connection:
        return await find_key_owner(connection, digest(key, "pepper"))


async def secrets(database: Database) -> list[tuple[str, bool]]:
    async with database.statement() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT secret, expires_at IS NULL AS is_current FROM webhook_secrets ORDER BY id"
        )
        return [(row.secret, row.is_current) for row in rows]


async def test_a_tenant_comes_with_a_webhook_secret(database: Database) -> None:
    tenant = await tenancy.create_tenant(database, "acme")
    assert await secrets(database) == [(tenant.webhook_secret, True)]
    assert [entry.name for entry in await tenancy.list_tenants(database)] == ["acme"]


async def test_a_name_is_taken_once(database: Database) -> None:
    await tenancy.create_tenant(database, "acme")
    with pytest.raises(ConflictError, match="there is a tenant called acme already"):
        await tenancy.create_tenant(database, "acme")
    assert len(await secrets(database)) == 1


async def test_a_key_works_until_it_is_revoked(database: Database) -> None:
    tenant = await tenancy.create_tenant(database, "acme")
    issued = await tenancy.issue_key(database, "acme", "web", "pepper")
    assert is_well_formed(issued.key)
    assert await owner(database, issued.key) == tenant.id
    await tenancy.revoke_key(database, "acme", issued.id)
    assert await owner(database, issued.key) is None
    (kept,) = await tenancy.list_keys(database, "acme")
    assert (kept.id, kept.last_four) == (issued.id, issued.key[-4:])
    assert kept.revoked_at is not None
    with pytest.raises(NotFoundError, match="acme has no live key"):
        await tenancy.revoke_key(database, "acme", issued.id)


async def test_a_tenant_cannot_revoke_anothers_key(database: Database) -> None:
    await tenancy.create_tenant(database, "acme")
    await tenancy.create_tenant(database, "other")
    issued = await tenancy.issue_key(database, "acme", "web", "pepper")
    with pytest.raises(NotFoundError):
        await tenancy.revoke_key(database, "other", issued.id)


async def test_an_old_secret_lives_on_for_a_while(database: Database) -> None:
    tenant = await tenancy.create_tenant(database, "acme")
    rotated = await tenancy.rotate_webhook_secret(database, "acme")
    assert await secrets(database) == [(tenant.webhook_secret, False), (rotated, True)]


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "x" * 65, "é", "a\n"])
async def test_names_that_cannot_be(database: Database, name: str) -> None:
    with pytest.raises(InvalidNameError, match="a name has 1 to 64 letters"):
        await tenancy.create_tenant(database, name)
    with pytest.raises(InvalidNameError):
        await tenancy.issue_key(database, "acme", name, "pepper")


async def test_nobody_of_that_name(database: Database) -> None:
    for asked in (
        tenancy.issue_key(database, "nobody", "web", "pepper"),
        tenancy.list_keys(database, "nobody"),
        tenancy.revoke_key(database, "nobody", 1),
        tenancy.rotate_webhook_secret(database, "nobody"),
    ):
        with pytest.raises(NotFoundError, match="there is no tenant called nobody"):
            await asked
