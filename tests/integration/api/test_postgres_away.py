"""A gateway whose Postgres falls silent: everybody is answered, nothing piles up or is lost."""

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
from tests.integration.api.gateways import BODY, Gateway, make_settings, open_gateway
from tests.support.tcp_proxy import Proxy, proxy

DEADLINE_SECONDS = 60
# Far more than the pool's four connections.
MANY = 60


@pytest.fixture
def opening(
    database_url: str, redis_url: str, bucket: StorageSettings, line: Proxy
) -> Callable[..., Settings]:
    """Give settings of a gateway that reaches Postgres over the line."""
    url = make_url(database_url).set(port=line.port).render_as_string(hide_password=False)

    def settings(**gateway: Any) -> Settings:
        made = make_settings(url, redis_url, bucket, **gateway)
        made.database = made.database.model_copy(update={"connect_timeout_seconds": 1000.0})
        return made

    return settings


async def send(gateway: Gateway, fields: dict[str, Any] | None = None) -> Response:
    return await gateway.client.post(
        "/api/v3/inpaint", json={"key": gateway.key, **BODY, **(fields or {})}
    )


def assert_turned_away(answer: Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["status"] == "error"
    assert answer.json()["message"] == "The database cannot be reached for the moment."


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await check():
            pass  # each look waits for an answer


@asynccontextmanager
async def noticed_absence(gateway: Gateway, line: Proxy) -> AsyncIterator[None]:
    """Let Postgres be silent while the block lasts, from when the gateway knows."""
    line.stall()

    async def away() -> bool:
        return (await gateway.client.get("/readyz")).status_code == 503

    async def known() -> bool:
        await asyncio.sleep(0)
        try:
            gateway.services.database.require()
        except PostgresUnavailableError:
            return True
        return False

    await until(away)
    await until(known)
    yield
    line.resume()


async def test_many_more_requests_than_connections_are_all_answered(
    opening: Callable[..., Settings], line: Proxy
) -> None:
    async with open_gateway(opening()) as gateway:
        assert (await send(gateway)).json()["status"] == "processing"
        line.stall()
        async with asyncio.timeout(DEADLINE_SECONDS):
            first = await asyncio.gather(*(send(gateway) for _ in range(MANY)))
            then = await asyncio.gather(*(send(gateway) for _ in range(MANY)))
            # A key nobody has asked for yet is looked up.
            fetched = await gateway.client.post("/api/v3/fetch/1", json={"key": gateway.key})
            ready = await gateway.client.get("/readyz")
        for answer in (*first, *then, fetched):
            assert_turned_away(answer)
        assert ready.status_code == 503
        assert ready.json() == {"status": "unavailable", "database": "away", "redis": "ok"}
        assert (await gateway.client.get("/healthz")).status_code == 200

        line.resume()

        async def ready_again() -> bool:
            return (await gateway.client.get("/readyz")).status_code == 200

        await until(ready_again)
        again = await asyncio.gather(*(send(gateway) for _ in range(MANY)))
        assert {answer.json()["status"] for answer in again} == {"processing"}


async def test_pictures_are_not_stored_for_a_request_that_will_be_refused(
    opening: Callable[..., Settings], line: Proxy, bucket: StorageSettings, s3_client: S3Client
) -> None:
    async with open_gateway(opening(auth_cache_seconds=1000)) as gateway:
        await send(gateway)  # its key is known from here on
        async with noticed_absence(gateway, line):
            assert_turned_away(await send(gateway, {"init_image": "aGVsbG8="}))
    stored = await asyncio.to_thread(s3_client.list_objects_v2, Bucket=bucket.bucket)
    assert "Contents" not in stored


async def test_a_caller_whose_job_is_recorded_is_told_so(
    opening: Callable[..., Settings], line: Proxy
) -> None:
    """A refusal would make the caller send the job a second time."""
    async with open_gateway(opening(sync_wait_seconds=1000)) as gateway:
        asking = asyncio.create_task(send(gateway))
        waiting = gateway.services.listener._waiting  # to know that the caller waits

        async def waits() -> bool:
            return await gateway.count_jobs() == len(waiting) == 1

        await until(waits)
        async with noticed_absence(gateway, line):
            await announce_ended(gateway.services.redis, *waiting)
            answer = await asking
    assert answer.status_code == 200
    told = answer.json()
    assert (told["status"], told["output"]) == ("processing", [])
    assert told["id"] > 0


async def test_a_silent_redis_holds_no_caller_up(settings: Settings, servers: Servers) -> None:
    async with proxy(servers.redis.port) as line:
        settings.redis = RedisSettings(url=SecretStr(f"redis://127.0.0.1:{line.port}/0"))
        async with open_gateway(settings) as gateway:
            await send(gateway)
            line.stall()
            answers = await asyncio.gather(*(send(gateway) for _ in range(MANY)))
            assert {answer.json()["status"] for answer in answers} == {"processing"}
            assert await gateway.count_jobs() == MANY + 1
            # The rings are still on their way: nobody waited for them.
            ringing = gateway.services.ringer._rings._writing
            assert ringing is not None
            assert not ringing.done()
            line.resume()
