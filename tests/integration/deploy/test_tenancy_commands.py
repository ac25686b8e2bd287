"""`infill tenants` and `infill keys` against a real database."""

import asyncio
import re

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from common import tenancy
from common.database import Database
from common.domain.api_key import is_well_formed
from common.domain.errors import ConflictError, InvalidNameError, NotFoundError
from common.repositories.tenants import disable_tenant
from common.settings import DatabaseSettings
from common.webhook_keys import load_signing_key
from deploy.cli import infill

PEPPER = "of the tests"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("INFILL_DATABASE_URL", database_url)
    monkeypatch.setenv("INFILL_API_KEY_PEPPER", PEPPER)


def run(*arguments: str) -> str:
    return CliRunner().invoke(infill, arguments, catch_exceptions=False).output


def key_of(told: str) -> str:
    return told.rsplit(maxsplit=1)[-1]


async def is_live(database_url: str, key: str) -> bool:
    database = Database(DatabaseSettings(url=SecretStr(database_url)), application="test")
    try:
        return await tenancy.is_live_key(database, key, PEPPER)
    finally:
        await database.aclose()


def test_a_tenant_is_made_and_its_secret_shown() -> None:
    assert re.fullmatch(
        r"tenant acme \(id 1\)\nwebhook secret: whsec_[A-Za-z0-9+/]{43}=\n",
        run("tenants", "create", "acme"),
    )


def test_tenants_are_listed_and_no_secret_with_them() -> None:
    assert run("tenants", "list") == ""
    run("tenants", "create", "acme")
    run("tenants", "create", "beta")
    lines = run("tenants", "list").splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["1", "acme", "active"],
        ["2", "beta", "active"],
    ]
    assert "whsec_" not in "".join(lines)


def test_a_name_is_taken_once_and_has_a_form() -> None:
    run("tenants", "create", "acme")
    with pytest.raises(ConflictError, match="there is a tenant called acme already"):
        run("tenants", "create", "acme")
    with pytest.raises(InvalidNameError):
        run("tenants", "create", "no spaces")


def test_a_new_secret_is_another_one() -> None:
    first = key_of(run("tenants", "create", "acme"))
    told = run("tenants", "rotate-secret", "acme")
    assert told.startswith("webhook secret: whsec_")
    assert key_of(told) != first


async def test_a_disabled_tenant_is_told(database_url: str) -> None:
    # The commands open a loop of their own, so they run beside this one.
    await asyncio.to_thread(run, "tenants", "create", "acme")
    database = Database(DatabaseSettings(url=SecretStr(database_url)), application="test")
    async with database.statement() as connection:
        assert await disable_tenant(connection, "acme", disabled=True)
    await database.aclose()
    listed = await asyncio.to_thread(run, "tenants", "list")
    assert listed.split("\t")[2] == "disabled"


async def test_a_key_opens_the_gateway_until_it_is_revoked(database_url: str) -> None:
    await asyncio.to_thread(run, "tenants", "create", "acme")
    key = key_of(await asyncio.to_thread(run, "keys", "create", "acme", "--name", "laptop"))
    assert is_well_formed(key)
    assert await is_live(database_url, key)
    listed = await asyncio.to_thread(run, "keys", "list", "acme")
    assert listed == f"1\tlaptop\t…{key[-4:]}\tlive\n"
    assert await asyncio.to_thread(run, "keys", "revoke", "acme", "1") == "revoked\n"
    assert not await is_live(database_url, key)
    assert (await asyncio.to_thread(run, "keys", "list", "acme")).endswith("\trevoked\n")


def test_what_is_not_there_is_told() -> None:
    for arguments in (
        ("keys", "create", "nobody"),
        ("keys", "list", "nobody"),
        ("keys", "revoke", "nobody", "1"),
        ("tenants", "rotate-secret", "nobody"),
    ):
        with pytest.raises(NotFoundError, match="there is no tenant called nobody"):
            run(*arguments)
    run("tenants", "create", "acme")
    with pytest.raises(NotFoundError, match="acme has no live key with the id 7"):
        run("keys", "revoke", "acme", "7")


def test_a_signing_key_is_drawn_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    load_signing_key(run("keys", "webhook").strip())
