"""Outages of Postgres or Redis: no delivery is lost, without an operator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pydantic import SecretStr
from structlog.testing import capture_logs

from common.domain.delivery import DeliveryState
from common.messaging.connection import connect
from common.postgres.database import Database
from common.settings import DatabaseSettings, RedisSettings
from deploy.cli.migrate import upgrade
from deploy.local.processes.child import Server
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import free_port
from deploy.local.servers.postgres import PostgresServer
from deploy.local.servers.redis import RedisServer
from tests.conftest import require_server_wheels
from tests.integration.dispatcher.harness import DispatcherHarness
from tests.support.jobs import Owner, add_succeeded_job, create_owner
from tests.support.receiver import Receiver, Reply
from worker.dispatcher.dispatcher import Dispatcher


@asynccontextmanager
async def running(server: Server, home: Path) -> AsyncIterator[None]:
    async with Supervisor(home / "logs") as supervisor:
        await server.prepare()
        await supervisor.start(server.child())
        yield


async def wait_for_outage(dispatcher: Dispatcher) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await dispatcher.check_ready()
            except ConnectionError:
                return
            await asyncio.sleep(0)


async def wait_for_postgres(database: Database) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(OSError):
                async with database.statement():
                    return
            await asyncio.sleep(0)


async def test_an_outage_of_redis_is_survived(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver, tmp_path: Path
) -> None:
    require_server_wheels()
    server = RedisServer(tmp_path, free_port())
    redis = connect(RedisSettings(url=SecretStr(server.url())))
    outage_harness = harness.replace(redis=redis)
    async with outage_harness.dispatching():
        for number in (1, 2):
            await add_succeeded_job(harness.database, owner, receiver.url)
            assert not await outage_harness.doorbell.ring_dispatcher()
            await receiver.request(number)
        async with running(server, tmp_path):
            assert await outage_harness.doorbell.ring_dispatcher()
            # It receives rings again: the ring is taken from the list.
            async with asyncio.timeout(20):
                while await redis.dbsize():
                    pass
        await add_succeeded_job(harness.database, owner, receiver.url)
        await receiver.request(3)
    await redis.aclose()


async def test_a_restart_of_postgres_during_a_delivery_is_survived(
    harness: DispatcherHarness, receiver: Receiver, tmp_path: Path
) -> None:
    require_server_wheels()
    server = PostgresServer(tmp_path, free_port(), "secret", durable=False)
    database = Database(DatabaseSettings(url=SecretStr(server.url())), application="tests")
    outage_harness, hold = harness.replace(database=database), asyncio.Event()
    receiver.replies.append(Reply(hold=hold))
    async with running(server, tmp_path):
        await server.ensure_database()
        await upgrade(server.url())
        owner = await create_owner(database)
        ended = await add_succeeded_job(database, owner, receiver.url)
        stopping, noticed = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with outage_harness.dispatching() as dispatcher:
                await wait_for_outage(dispatcher)
                noticed.set()
                await stopping.wait()
                await dispatcher.check_ready()  # it is ready again

        task = asyncio.create_task(serve())
        await receiver.request()
    # The response comes while Postgres is unavailable.
    await noticed.wait()
    hold.set()
    async with running(server, tmp_path):
        await wait_for_postgres(database)
        await add_succeeded_job(database, owner, receiver.url)
        await receiver.request(2)
        stopping.set()
        await task
        assert (await outage_harness.row(ended.delivery_id)).state is DeliveryState.DELIVERED
        await database.aclose()
    assert len(receiver.requests) == 2


async def test_an_outcome_that_cannot_be_written_is_left_to_the_lease(
    harness: DispatcherHarness, owner: Owner, receiver: Receiver
) -> None:
    """It arrived but is not recorded: it is sent again after the lease, with the same id."""
    hold = asyncio.Event()
    receiver.replies.append(Reply(hold=hold))
    ended = await add_succeeded_job(harness.database, owner, receiver.url)
    async with harness.dispatching():
        await receiver.request()
        async with harness.database.statement() as connection:
            await connection.exec_driver_sql("ALTER TABLE delivery_attempts RENAME TO hidden")
        hold.set()
    async with harness.database.statement() as connection:
        await connection.exec_driver_sql("ALTER TABLE hidden RENAME TO delivery_attempts")
    assert (await harness.row(ended.delivery_id)).state is DeliveryState.SENDING
    assert await harness.attempts(ended.delivery_id) == []


async def test_shutdown_during_an_outage_of_postgres_does_not_wait_for_a_lease(
    harness: DispatcherHarness, receiver: Receiver, tmp_path: Path
) -> None:
    """The lease makes sure that it is sent again, so the process need not wait."""
    require_server_wheels()
    server = PostgresServer(tmp_path, free_port(), "secret", durable=False)
    database = Database(DatabaseSettings(url=SecretStr(server.url())), application="tests")
    hold = asyncio.Event()
    receiver.replies.append(Reply(hold=hold))
    async with running(server, tmp_path):
        await server.ensure_database()
        await upgrade(server.url())
        ended = await add_succeeded_job(database, await create_owner(database), receiver.url)
        outage_harness = harness.replace(database=database).with_settings(lease_seconds=1000.0)
        dispatching = outage_harness.dispatching()
        await dispatching.__aenter__()
        await receiver.request()
    with capture_logs() as lines:
        stopped = asyncio.create_task(dispatching.__aexit__(None, None, None))
        hold.set()
        async with asyncio.timeout(60):
            await stopped
    assert {line["event"] for line in lines} >= {"outcome_write_delayed", "delivery_not_recorded"}
    async with running(server, tmp_path):
        await wait_for_postgres(database)
        assert (await outage_harness.row(ended.delivery_id)).state is DeliveryState.SENDING
        await database.aclose()
