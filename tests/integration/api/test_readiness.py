"""A gateway is ready only with the schema of its release and with row-level security in force."""

from typing import Any, Final
from uuid import uuid4

import pytest
from httpx2 import ASGITransport, AsyncClient, Response

from api.app import create_app
from common.domain.api_key import KeyKind, new_key
from common.postgres.schema import NEWER, NOT_MIGRATED, OLDER, SCHEMA_REVISION, UNRESTRICTED
from common.settings import StorageSettings
from tests.conftest import Servers
from tests.integration.api.gateways import Gateway, make_settings
from tests.support.requests import INPAINT_BODY

KEY: Final = new_key(KeyKind.API)


def named(reason: str, found: str) -> str:
    return reason.format(found=found, SCHEMA_REVISION=SCHEMA_REVISION)


def not_ready(reason: str) -> dict[str, Any]:
    return {"status": "not ready", "database": "not ready", "redis": "ok", "reason": reason}


async def read_readiness(gateway: Gateway) -> tuple[int, Any]:
    response = await gateway.client.get("/readyz")
    return response.status_code, response.json()


@pytest.mark.usefixtures("template_database")  # the role exists
async def test_a_gateway_on_an_empty_database_names_the_command(
    servers: Servers, redis_url: str, bucket: StorageSettings
) -> None:
    name = f"empty_{uuid4().hex}"
    await servers.postgres.ensure_database(name)
    app = create_app(make_settings(servers.postgres.url(name), redis_url, bucket))
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://gateway") as client,
    ):
        ready: Response = await client.get("/readyz")
        posted = await client.post("/api/v3/inpaint", json={"key": KEY, **INPAINT_BODY})
    assert (ready.status_code, ready.json()) == (503, not_ready(NOT_MIGRATED))
    assert posted.status_code == 503
    assert "`infill migrate`" in posted.json()["message"]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM alembic_version", NOT_MIGRATED),
        ("REVOKE SELECT ON alembic_version FROM infill_gateway", NOT_MIGRATED),
        ("UPDATE alembic_version SET version_num = '0000'", named(OLDER, "0000")),
    ],
)
async def test_a_schema_of_another_release_is_not_ready(
    gateway: Gateway, statement: str, reason: str
) -> None:
    await gateway.run(statement)
    assert await read_readiness(gateway) == (503, not_ready(reason))


async def test_a_newer_schema_is_ready_only_for_a_gateway_that_served_the_older_one(
    gateway: Gateway,
) -> None:
    await gateway.run("UPDATE alembic_version SET version_num = '0002'")
    assert await read_readiness(gateway) == (503, not_ready(named(NEWER, "0002")))
    await gateway.run("UPDATE alembic_version SET version_num = $1", SCHEMA_REVISION)
    assert (await read_readiness(gateway))[0] == 200
    await gateway.run("UPDATE alembic_version SET version_num = '0002'")
    assert (await read_readiness(gateway))[0] == 200


async def test_a_gateway_whose_role_bypasses_row_level_security_is_refused(
    gateway: Gateway,
) -> None:
    """The role belongs to the whole server, so the table's protection is changed instead."""
    assert (await read_readiness(gateway))[0] == 200
    await gateway.run("ALTER TABLE jobs DISABLE ROW LEVEL SECURITY")
    assert await read_readiness(gateway) == (503, not_ready(UNRESTRICTED))
    await gateway.services.database._direct_pool.aclose()
    response = await gateway.client.get("/readyz")
    assert response.status_code == 503
    assert "row-level security is not in force" in response.json()["reason"]
    response = await gateway.client.post("/api/v3/fetch/1", json={"key": gateway.key})
    assert response.status_code == 503
