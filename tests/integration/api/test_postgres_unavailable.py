"""A hanging Postgres: every request gets a response, nothing piles up or is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx2 import Response
from pydantic import SecretStr
from sqlalchemy import make_url
from types_boto3_s3 import S3Client

from common.messaging.completion import announce_ended
from common.postgres.watchdog import PostgresUnavailableError
from common.settings import RedisSettings, Settings, StorageSettings
from tests.conftest import Servers
from tests.integration.api.gateways import Gateway, make_settings, open_gateway
from tests.support.requests import INPAINT_BODY
from tests.support.tcp_proxy import Proxy, proxy

DEADLINE_SECONDS = 60
# Far more than the pool's four connections.
MANY = 60


@pytest.fixture
def proxied_settings(
    database_url: str, redis_url: str, bucket: StorageSettings, database_proxy: Proxy
) -> Callable[..., Settings]:
    """Return settings of a gateway that reaches Postgres through the proxy."""
    url = make_url(database_url).set(port=database_proxy.port).render_as_string(hide_password=False)

    def settings(**gateway: Any) -> Settings:
        made = make_settings(url, redis_url, bucket, **gateway)
        made.database = made.database.model_copy(update={"connect_timeout_seconds": 1000.0})
        return made

    return settings


async def send(gateway: Gateway, fields: dict[str, Any] | None = None) -> Response:
    return await gateway.client.post(
        "/api/v3/inpaint", json={"key": gateway.key, **INPAINT_BODY, **(fields or {})}
    )


UNREACHABLE = "The database cannot be reached at the moment."
UNKNOWN = (
    "The database did not respond in time. If the request changes something, the change may have "
    "been saved."
)


def assert_unavailable(response: Response, *messages: str) -> None:
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.json()["status"] == "error"
    assert response.json()["message"] in (messages or (UNREACHABLE,))


async def wait_until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await check():
            pass  # each check waits for a response


@asynccontextmanager
async def noticed_outage(gateway: Gateway, database_proxy: Proxy) -> AsyncIterator[None]:
    """Let Postgres hang while the block runs, which starts once the gateway has noticed."""
    database_proxy.stall()

    async def not_ready() -> bool:
        return (await gateway.client.get("/readyz")).status_code == 503

    async def is_noticed() -> bool:
        await asyncio.sleep(0)
        try:
            gateway.services.database.raise_if_unavailable()
        except PostgresUnavailableError:
            return True
        return False

    await wait_until(not_ready)
    await wait_until(is_noticed)
    yield
    database_proxy.resume()


async def test_many_more_requests_than_connections_all_get_a_response(
    proxied_settings: Callable[..., Settings], database_proxy: Proxy
) -> None:
    async with open_gateway(proxied_settings()) as gateway:
        assert (await send(gateway)).json()["status"] == "processing"
        database_proxy.stall()
        async with asyncio.timeout(DEADLINE_SECONDS):
            first = await asyncio.gather(*(send(gateway) for _ in range(MANY)))
            then = await asyncio.gather(*(send(gateway) for _ in range(MANY)))
            # A fetch reads the job from Postgres.
            fetched = await gateway.client.post("/api/v3/fetch/1", json={"key": gateway.key})
            ready = await gateway.client.get("/readyz")
        # The statements of the first requests were sent before the outage was noticed.
        for response in first:
            assert_unavailable(response, UNREACHABLE, UNKNOWN)
        assert UNKNOWN in {response.json()["message"] for response in first}
        for response in (*then, fetched):
            assert_unavailable(response)
        assert ready.status_code == 503
        assert ready.json() == {"status": "unavailable", "database": "unavailable", "redis": "ok"}
        assert (await gateway.client.get("/healthz")).status_code == 200

        database_proxy.resume()

        async def ready_again() -> bool:
            return (await gateway.client.get("/readyz")).status_code == 200

        await wait_until(ready_again)
        again = await asyncio.gather(*(send(gateway) for _ in range(MANY)))
        assert {response.json()["status"] for response in again} == {"processing"}


async def test_no_image_is_stored_while_postgres_is_known_to_be_unavailable(
    proxied_settings: Callable[..., Settings],
    database_proxy: Proxy,
    bucket: StorageSettings,
    s3_client: S3Client,
) -> None:
    async with open_gateway(proxied_settings(auth_cache_seconds=1000)) as gateway:
        await send(gateway)  # its key is cached from here on
        async with noticed_outage(gateway, database_proxy):
            assert_unavailable(await send(gateway, {"init_image": "aGVsbG8="}))
    stored = await asyncio.to_thread(s3_client.list_objects_v2, Bucket=bucket.bucket)
    assert "Contents" not in stored


async def test_a_recorded_job_is_reported_even_if_postgres_becomes_unavailable(
    proxied_settings: Callable[..., Settings], database_proxy: Proxy
) -> None:
    """An error would make the caller send the job a second time."""
    async with open_gateway(proxied_settings(sync_wait_seconds=1000)) as gateway:
        submitting = asyncio.create_task(send(gateway))
        waiting = gateway.services.completions._waiting  # to know that the caller waits

        async def is_waiting() -> bool:
            return await gateway.count_jobs() == len(waiting) == 1

        await wait_until(is_waiting)
        async with noticed_outage(gateway, database_proxy):
            await announce_ended(gateway.services.redis, *waiting)
            response = await submitting
    assert response.status_code == 200
    result = response.json()
    assert (result["status"], result["output"]) == ("processing", [])
    assert result["id"] > 0


async def test_a_silent_redis_delays_no_caller(settings: Settings, servers: Servers) -> None:
    async with proxy(servers.redis.port) as redis_proxy:
        settings.redis = RedisSettings(url=SecretStr(f"redis://127.0.0.1:{redis_proxy.port}/0"))
        async with open_gateway(settings) as gateway:
            await send(gateway)
            redis_proxy.stall()
            responses = await asyncio.gather(*(send(gateway) for _ in range(MANY)))
            assert {response.json()["status"] for response in responses} == {"processing"}
            assert await gateway.count_jobs() == MANY + 1
            # The rings are still being sent: no request waited for them.
            ringing = gateway.services.worker_notifier._rings._writing
            assert ringing is not None
            assert not ringing.done()
            redis_proxy.resume()
