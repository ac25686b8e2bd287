"""Credentials of the local stack: issued once, valid as long as the database has them."""

import json
import stat
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from common.operations.api_keys import list_keys, revoke_key
from common.operations.tenants import create_tenant
from common.postgres.database import Database
from common.settings import DatabaseSettings, Settings
from deploy.cli.migrate import upgrade
from deploy.local.credentials import TENANT, Credentials, ensure_credentials, publish_credentials
from tests.conftest import Servers
from tests.support import operators
from tests.support.operators import EVERYTHING, OPERATOR

PEPPER = "pepper of the unit tests"
ADMIN = "adm_of_the_tests"


@pytest.fixture
def settings(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("INFILL_DATABASE_URL", database_url)
    monkeypatch.setenv("INFILL_API_KEY_PEPPER", PEPPER)
    monkeypatch.setenv("INFILL_ADMIN_KEY", ADMIN)
    monkeypatch.setenv("INFILL_PUBLIC_URL", "http://127.0.0.1:8123")
    return Settings()


async def is_live(database_url: str, key: str) -> bool:
    database = Database(DatabaseSettings(url=SecretStr(database_url)), application="test")
    try:
        return await operators.is_live(database, key, PEPPER)
    finally:
        await database.aclose()


async def test_the_first_start_creates_credentials(
    tmp_path: Path, settings: Settings, database_url: str
) -> None:
    given = await ensure_credentials(tmp_path, settings)
    assert given.base_url == "http://127.0.0.1:8123"
    assert given.admin_key == ADMIN
    assert given.webhook_secret.startswith("whsec_")
    assert await is_live(database_url, given.api_key)


async def test_the_next_start_returns_the_same_credentials(
    tmp_path: Path, settings: Settings
) -> None:
    given = await ensure_credentials(tmp_path, settings)
    assert await ensure_credentials(tmp_path, settings) == given


async def test_the_admin_key_is_empty_if_the_settings_have_none(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.gateway.admin_key is not None  # read before the variable goes
    monkeypatch.delenv("INFILL_ADMIN_KEY")
    assert (await ensure_credentials(tmp_path, Settings())).admin_key == ""


async def test_another_database_gets_credentials_of_its_own(
    tmp_path: Path, settings: Settings, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await ensure_credentials(tmp_path, settings)
    name = f"other_{uuid4().hex}"
    await servers.postgres.ensure_database(name)
    other = servers.postgres.url(name)
    await upgrade(other)
    monkeypatch.setenv("INFILL_DATABASE_URL", other)
    after = await ensure_credentials(tmp_path, Settings())
    assert after.api_key != before.api_key
    assert await is_live(other, after.api_key)
    assert not await is_live(other, before.api_key)


async def test_an_interrupted_first_start_is_completed(
    tmp_path: Path, settings: Settings, database_url: str
) -> None:
    database = Database(settings.database, application="test")
    made = await create_tenant(database, OPERATOR, TENANT)
    await database.aclose()
    given = await ensure_credentials(tmp_path, settings)
    assert given.webhook_secret != made.webhook_secret
    assert await is_live(database_url, given.api_key)


async def test_a_revoked_key_is_replaced(
    tmp_path: Path, settings: Settings, database_url: str
) -> None:
    before = await ensure_credentials(tmp_path, settings)
    database = Database(settings.database, application="test")
    (key,) = (await list_keys(database, TENANT, EVERYTHING)).items
    await revoke_key(database, OPERATOR, TENANT, key.id)
    await database.aclose()
    after = await ensure_credentials(tmp_path, settings)
    assert await is_live(database_url, after.api_key)
    assert not await is_live(database_url, before.api_key)


def test_credentials_are_published_while_the_gateway_is_ready(tmp_path: Path) -> None:
    given = Credentials("http://127.0.0.1:8000", "inf_key", "whsec_secret", "adm_key")
    with publish_credentials(given, tmp_path) as path:
        assert json.loads(path.read_text()) == {
            "base_url": "http://127.0.0.1:8000",
            "api_key": "inf_key",
            "webhook_secret": "whsec_secret",
            "admin_key": "adm_key",
        }
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
