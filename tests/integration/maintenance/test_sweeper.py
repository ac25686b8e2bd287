"""Every task of a sweep, on rows that were made old enough."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text

from common.messaging.announcer import Announcer
from common.messaging.completion import CHANNEL
from common.messaging.connection import connect
from common.messaging.doorbell import DISPATCHER_LIST, Doorbell
from common.postgres.database import Database
from common.postgres.repositories.jobs.workers import record_worker_heartbeat
from common.settings import JobSettings, RedisSettings, WebhookSettings
from deploy.local.servers.ports import LOOPBACK
from tests.support.jobs import (
    NO_GRACE,
    QUEUE,
    Owner,
    add_queued_job,
    add_succeeded_job,
    claim_next_job,
)
from worker.maintenance import sweeper as sweeping
from worker.maintenance.sweeper import Sweeper

Sweep: TypeAlias = Callable[[], Awaitable[None]]
HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture
def sweep(database: Database, sweeper: Sweeper) -> Sweep:
    async def once() -> None:
        async with database.statement() as connection:
            await sweeper.sweep(connection)

    return once


@pytest.fixture
async def announced(redis: Redis) -> AsyncIterator[Any]:
    async with redis.pubsub(ignore_subscribe_messages=False) as subscription:
        await subscription.subscribe(CHANNEL)
        assert (await subscription.get_message(timeout=10))["type"] == "subscribe"
        yield subscription


async def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    async with database.statement() as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


async def expired_claim(database: Database) -> None:
    await claim_next_job(database, lease_seconds=-1)


async def test_a_dead_workers_job_is_requeued_and_rung_for(
    database: Database, redis: Redis, owner: Owner, sweep: Sweep
) -> None:
    await add_queued_job(database, owner)
    await expired_claim(database)
    await sweep()
    query = "SELECT state, attempt, claimed_by, lease_expires_at, error_code FROM jobs"
    assert await rows(database, query) == [("queued", 1, None, None, "worker_lost")]
    assert await redis.llen(QUEUE) == 1


async def test_a_live_claim_is_left_alone(
    database: Database, redis: Redis, owner: Owner, sweep: Sweep
) -> None:
    await add_queued_job(database, owner)
    await claim_next_job(database)
    await sweep()
    assert await rows(database, "SELECT state, attempt FROM jobs") == [("running", 1)]
    assert await redis.dbsize() == 0


async def test_a_job_out_of_attempts_fails_and_its_end_is_announced(
    database: Database, redis: Redis, owner: Owner, sweep: Sweep, announced: Any
) -> None:
    job_id = await add_queued_job(database, owner, webhook_url=HOOK, max_attempts=1)
    await expired_claim(database)
    before = REGISTRY.get_sample_value("infill_jobs_ended_total", {"outcome": "failed"}) or 0
    await sweep()
    query = "SELECT id, state, error_code, error_message, file_prefix FROM jobs"
    ((found, state, code, message, prefix),) = await rows(database, query)
    assert (found, state, code) == (job_id, "failed", "worker_lost")
    assert "stopped unexpectedly" in message
    assert (await announced.get_message(timeout=10))["data"] == UUID(str(prefix)).bytes
    assert await redis.llen(DISPATCHER_LIST) == 1
    assert await rows(database, "SELECT event, state FROM deliveries") == [
        ("job.failed", "pending")
    ]
    after = REGISTRY.get_sample_value("infill_jobs_ended_total", {"outcome": "failed"})
    assert after == before + 1


async def test_a_job_that_waited_too_long_fails_and_its_end_is_announced(
    database: Database, redis: Redis, owner: Owner, sweep: Sweep, announced: Any
) -> None:
    job_id = await add_queued_job(database, owner, webhook_url=HOOK)
    async with database.statement() as connection:
        await connection.execute(text("UPDATE jobs SET created_at = now() - interval '25 hours'"))
    await add_queued_job(database, owner)
    before = REGISTRY.get_sample_value("infill_jobs_ended_total", {"outcome": "failed"}) or 0
    await sweep()
    query = "SELECT id, error_code, file_prefix FROM jobs WHERE state = 'failed'"
    ((found, code, prefix),) = await rows(database, query)
    assert (found, code) == (job_id, "queue_time_exceeded")
    assert (await announced.get_message(timeout=10))["data"] == UUID(str(prefix)).bytes
    assert await redis.llen(DISPATCHER_LIST) == 1
    assert await redis.llen(QUEUE) == 1
    after = REGISTRY.get_sample_value("infill_jobs_ended_total", {"outcome": "failed"})
    assert after == before + 1


async def test_a_dead_dispatchers_delivery_is_requeued_and_rung_for(
    database: Database, redis: Redis, owner: Owner, sweep: Sweep
) -> None:
    await add_succeeded_job(database, owner, HOOK)
    lost = "UPDATE deliveries SET state = 'sending', lease_expires_at = now(), claimed_by = 'x'"
    async with database.statement() as connection:
        await connection.execute(text(lost))
    await sweep()
    query = "SELECT state, claimed_by, lease_expires_at, failures FROM deliveries"
    assert await rows(database, query) == [("pending", None, None, 0)]
    assert await redis.llen(DISPATCHER_LIST) == 1


async def test_waiting_jobs_are_rung_for_once(
    database: Database, redis: Redis, owner: Owner, sweep: Sweep
) -> None:
    for _ in range(3):
        await add_queued_job(database, owner)
    await sweep()
    await sweep()
    assert await redis.llen(QUEUE) == 3
    assert await redis.llen("other") == 0


async def test_rings_of_one_sweep_are_bounded(
    database: Database,
    redis: Redis,
    owner: Owner,
    sweep: Sweep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeping, "RINGS", 2)
    for _ in range(3):
        await add_queued_job(database, owner)
    await sweep()
    assert await redis.llen(QUEUE) == 2


async def test_a_job_that_is_not_available_yet_is_not_rung_for(
    database: Database, redis: Redis, owner: Owner, sweep: Sweep
) -> None:
    await add_queued_job(database, owner)
    async with database.statement() as connection:
        await connection.execute(text("UPDATE jobs SET available_at = now() + interval '1 hour'"))
    await sweep()
    assert await redis.dbsize() == 0


async def test_more_than_a_batch_is_moved_in_one_sweep(
    database: Database, owner: Owner, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 2)
    for max_attempts in (1, 1, 1, 2, 2, 2, 2):
        await add_queued_job(database, owner, max_attempts=max_attempts)
    for _ in range(7):
        await expired_claim(database)
    await sweep()
    query = "SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state"
    assert await rows(database, query) == [("failed", 3), ("queued", 4)]


async def test_silent_workers_are_deleted(database: Database, sweep: Sweep) -> None:
    async with database.statement() as connection:
        await record_worker_heartbeat(connection, "silent", [QUEUE])
        await connection.execute(text("UPDATE workers SET seen_at = now() - interval '61 s'"))
        await record_worker_heartbeat(connection, "alive", [QUEUE])
    await sweep()
    assert await rows(database, "SELECT name FROM workers") == [("alive",)]


async def test_unfinished_jobs_are_counted(database: Database, owner: Owner, sweep: Sweep) -> None:
    for _ in range(3):
        await add_queued_job(database, owner)
    await claim_next_job(database)
    await sweep()
    assert REGISTRY.get_sample_value("infill_jobs", {"queue": QUEUE, "state": "queued"}) == 2
    assert REGISTRY.get_sample_value("infill_jobs", {"queue": QUEUE, "state": "running"}) == 1
    async with database.statement() as connection:
        await connection.execute(text("DELETE FROM jobs"))
    await sweep()  # a queue that was counted before is shown empty, not left out
    assert REGISTRY.get_sample_value("infill_jobs", {"queue": QUEUE, "state": "queued"}) == 0


async def test_an_outage_of_redis_stops_no_task_of_a_sweep(
    database: Database, redis: Redis, owner: Owner, sweep: Sweep
) -> None:
    await add_queued_job(database, owner)
    await expired_claim(database)
    await redis.set(QUEUE, "not a list: every ring fails")
    await sweep()
    assert await rows(database, "SELECT state FROM jobs") == [("queued",)]
    assert REGISTRY.get_sample_value("infill_jobs", {"queue": QUEUE, "state": "queued"}) == 1


async def test_a_hung_redis_delays_a_sweep_once_not_once_for_every_job(
    database: Database, owner: Owner
) -> None:
    """Otherwise 500 abandoned jobs would delay a sweep by half an hour."""
    asked, hung = asyncio.Queue[None](), asyncio.Event()

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(None)
        await hung.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, LOOPBACK, 0)
    settings = RedisSettings(
        url=SecretStr(f"redis://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/0"),
        timeout_seconds=30,
    )
    client = connect(settings)
    doorbell = Doorbell(client, settings)
    announcer = Announcer(client, doorbell)
    sweeper = Sweeper(
        database,
        doorbell,
        announcer,
        JobSettings(),
        WebhookSettings(),
        queues=(QUEUE,),
        grace=NO_GRACE,
    )
    for _ in range(3):
        await add_queued_job(database, owner, webhook_url=HOOK, max_attempts=1)
        await expired_claim(database)

    async def sweep() -> None:
        async with database.statement() as connection:
            await sweeper.sweep(connection)

    under_way = asyncio.create_task(sweep())
    try:
        async with asyncio.timeout(10):
            for _ in range(3):
                await asked.get()
    finally:
        hung.set()
        server.close()
        await under_way
        await client.aclose()
    assert await rows(database, "SELECT DISTINCT state FROM jobs") == [("failed",)]
