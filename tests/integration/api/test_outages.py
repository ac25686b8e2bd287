"""Responses while Postgres, Redis or the store are unavailable, or the gateway has a defect."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from httpx2 import ASGITransport, AsyncClient
from pydantic import SecretStr
from redis.asyncio import Redis

from api.app import create_app
from common.domain.api_key import new_key
from common.settings import DatabaseSettings, RedisSettings, Settings, StorageSettings
from deploy.local.processes.supervisor import Supervisor
from tests.integration.api.gateways import Gateway, make_settings, open_gateway
from tests.integration.local import parts
from tests.support.requests import INPAINT_BODY

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncIterator[AsyncClient]:
    """Start a gateway without tenants."""
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app=app), base_url="http://gateway") as client,
    ):
        yield client


async def test_an_unavailable_redis_loses_no_job(settings: Settings) -> None:
    settings.redis = RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))
    async with open_gateway(settings) as gateway:
        response = await gateway.post("inpaint", INPAINT_BODY)
        assert response["status"] == "processing"
        assert (await gateway.claim()).id == response["id"]
        ready = await gateway.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "degraded", "database": "ok", "redis": "unavailable"}


async def test_a_read_only_redis_loses_no_job_and_is_reported(
    settings: Settings, tmp_path: Path
) -> None:
    server = parts.redis(tmp_path)
    settings.redis = RedisSettings(url=SecretStr(server.url()))
    settings.gateway = settings.gateway.model_copy(update={"sync_wait_seconds": 0.0})
    async with (
        Supervisor(tmp_path / "logs") as supervisor,
        Redis.from_url(server.url()) as admin,
        open_gateway(settings) as gateway,
    ):
        await parts.start(supervisor, server)
        assert (await gateway.client.get("/readyz")).json()["status"] == "ok"
        await admin.replicaof("127.0.0.1", "1")
        response = await gateway.post("inpaint", INPAINT_BODY)
        assert response["status"] == "processing"
        assert (await gateway.claim()).id == response["id"]
        ready = (await gateway.client.get("/readyz")).json()
        assert ready == {"status": "degraded", "database": "ok", "redis": "unavailable"}
        await admin.replicaof("NO", "ONE")
        assert (await gateway.client.get("/readyz")).json()["status"] == "ok"


async def test_an_unavailable_postgres_is_reported_at_once(settings: Settings) -> None:
    settings.database = DatabaseSettings(url=SecretStr(NOWHERE))
    async with open_client(settings) as client:
        response = await client.post("/api/v3/inpaint", json={**INPAINT_BODY, "key": new_key()})
        ready = await client.get("/readyz")
        alive = await client.get("/healthz")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.json()["message"] == "The database cannot be reached at the moment."
    assert (ready.status_code, ready.json()["database"]) == (503, "unavailable")
    assert alive.status_code == 200


async def test_junk_never_reaches_the_database(settings: Settings) -> None:
    settings.database = DatabaseSettings(url=SecretStr(NOWHERE))
    async with open_client(settings) as client:
        response = await client.post(
            "/api/v3/inpaint", json={**INPAINT_BODY, "key": "inf_" + "0" * 43}
        )
    assert response.json()["message"] == "Invalid Api Key"


async def test_lost_connections_fail_no_request(gateway: Gateway) -> None:
    await gateway.post("inpaint", INPAINT_BODY)
    async with gateway.services.operator_database.statement() as connection:
        await connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert (await gateway.post("inpaint", INPAINT_BODY))["status"] == "processing"


async def test_an_unavailable_store_is_reported_and_nothing_is_recorded(
    database_url: str, redis_url: str, bucket: StorageSettings
) -> None:
    unavailable = bucket.model_copy(update={"endpoint_url": "http://127.0.0.1:1"})
    async with open_gateway(make_settings(database_url, redis_url, unavailable)) as gateway:
        sent = {"key": gateway.key, **INPAINT_BODY, "init_image": "aGVsbG8="}
        response = await gateway.client.post("/api/v3/inpaint", json=sent)
        assert await gateway.count_jobs() == 0
    assert response.status_code == 503
    assert response.json()["message"] == "The image store cannot be reached at the moment."
    assert int(response.headers["retry-after"]) > 0


async def test_an_internal_error_shows_no_details(gateway: Gateway) -> None:
    async with gateway.services.operator_database.statement() as connection:
        await connection.exec_driver_sql("REVOKE SELECT ON jobs FROM infill_gateway")
    response = await gateway.client.post("/api/v3/fetch/1", json={"key": gateway.key})
    assert response.status_code == 500
    result: dict[str, Any] = response.json()
    assert result == {
        "status": "error",
        "message": "The request failed because of an error in this service.",
        "messege": "The request failed because of an error in this service.",
        "tip": "The error has been logged; try again later.",
    }
