"""Outages of Redis or Postgres: jobs still end exactly once, without an operator."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from structlog.testing import capture_logs

from common.messaging.announcer import Announcer
from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.postgres.database import Database
from common.postgres.errors import is_unavailable
from common.settings import DatabaseSettings, JobSettings, RedisSettings, WebhookSettings
from deploy.cli.migrate import upgrade
from deploy.local.processes.child import Server
from deploy.local.processes.supervisor import Supervisor
from tests.conftest import Servers, require_server_wheels
from tests.integration.dispatcher.program import running
from tests.integration.local import parts
from tests.integration.repositories.conftest import make_tenant
from tests.integration.repositories.support.tenant_rows import LONG_AGO
from tests.integration.worker.harness.worker_harness import QUEUES, WorkerHarness
from tests.integration.worker.lifecycle.test_listening import SELDOM, wait_for_listener
from tests.integration.worker.lifecycle.test_process import assert_clean_exit, working
from worker.maintenance.sweeper import Sweeper

NOWHERE = "postgresql://infill@127.0.0.1:1/infill"


@asynccontextmanager
async def serving(server: Server, home: Path) -> AsyncIterator[None]:
    async with Supervisor(home / "logs") as supervisor:
        await parts.start(supervisor, server)
        yield


async def test_outages_of_redis_from_the_start_on_are_survived(
    harness: WorkerHarness, environment: dict[str, str], tmp_path: Path
) -> None:
    require_server_wheels()
    server = parts.redis(tmp_path)
    redis = connect(RedisSettings(url=SecretStr(server.url())))
    harness = harness.replace(redis=redis)
    async with working(environment | {"INFILL_REDIS_URL": server.url()}) as program:
        first = await harness.queue_inpaint()
        await program.wait_for_event("job_succeeded")
        for _ in range(2):
            async with serving(server, tmp_path):
                await wait_for_listener(redis)
                await harness.queue_inpaint()
                await program.wait_for_event("job_succeeded")
            await harness.queue_inpaint()
            await program.wait_for_event("job_succeeded")
        program.process.terminate()
        await assert_clean_exit(program, harness)
    await redis.aclose()
    assert (await harness.tenant.read_job(first))["state"] == "succeeded"
    assert "Traceback" not in str(program.lines)


async def test_rings_are_received_again_after_a_restart_of_redis(
    harness: WorkerHarness, environment: dict[str, str], tmp_path: Path
) -> None:
    require_server_wheels()
    server = parts.redis(tmp_path)
    redis = connect(RedisSettings(url=SecretStr(server.url())))
    doorbell = Doorbell(redis, RedisSettings())
    settings = environment | SELDOM | {"INFILL_REDIS_URL": server.url()}
    async with working(settings) as program:
        for _ in range(2):
            async with serving(server, tmp_path):
                await wait_for_listener(redis)
                for queue in QUEUES:
                    job_id = await harness.queue_inpaint(asked={"model": queue})
                    assert await doorbell.ring_worker(queue)
                    assert (await program.wait_for_event("job_succeeded"))["job_id"] == job_id
        # Redis is unavailable once more; the worker shuts down all the same.
        program.process.terminate()
        await assert_clean_exit(program, harness)
    await redis.aclose()


async def test_a_restart_of_postgres_during_a_generation_is_survived(
    harness: WorkerHarness, environment: dict[str, str], tmp_path: Path
) -> None:
    require_server_wheels()
    server = parts.postgres(tmp_path)
    database = Database(DatabaseSettings(url=SecretStr(server.url())), application="tests")
    hold = harness.engine_control.hold_next()
    settings = environment | {
        "INFILL_DATABASE_URL": server.url(),
        "INFILL_JOB_HEARTBEAT_SECONDS": "0.1",
    }
    async with serving(server, tmp_path):
        await server.ensure_database()
        await upgrade(server.url())
        there = harness.replace(database=database, tenant=await make_tenant(database, "alice"))
        job_id = await there.queue_inpaint()
        await database.aclose()
    async with running(settings, "worker") as program:
        await program.wait_for_event("dependency_unavailable")
        async with serving(server, tmp_path):
            await there.engine_control.generation()
        hold.set()
        await program.wait_for_event("outcome_write_delayed")
        async with serving(server, tmp_path):
            await program.wait_for_event("job_succeeded")
            job = await there.tenant.read_job(job_id)
            assert (job["state"], job["attempt"]) == ("succeeded", 1)
            assert await there.count_records(job_id) == (1, 1)
            # It goes on: the next job is run too.
            await there.queue_inpaint()
            await program.wait_for_event("job_succeeded")
            program.process.terminate()
            await assert_clean_exit(program, there)
            await database.aclose()
    assert len(there.engine_control.generations) == 2
    assert "Traceback" not in str(program.lines)


async def test_leases_that_expired_during_an_outage_are_not_requeued_at_once(
    harness: WorkerHarness, environment: dict[str, str], tmp_path: Path
) -> None:
    require_server_wheels()
    server = parts.postgres(tmp_path)
    database = Database(DatabaseSettings(url=SecretStr(server.url())), application="tests")
    hold = harness.engine_control.hold_next()
    settings = environment | {
        "INFILL_DATABASE_URL": server.url(),
        "INFILL_JOB_HEARTBEAT_SECONDS": "0.1",
    }
    async with running(settings, "worker") as program:
        async with serving(server, tmp_path):
            await server.ensure_database()
            await upgrade(server.url())
            there = harness.replace(database=database, tenant=await make_tenant(database, "alice"))
            job_id = await there.queue_inpaint()
            await there.engine_control.generation()
            await database.aclose()
        program.process.send_signal(signal.SIGSTOP)  # so that only our rows age
        async with serving(server, tmp_path):
            await there.age_lease(job_id)
            await sweep(there)
            job = await there.tenant.read_job(job_id)
            assert (job["state"], job["lease_expires_at"]) == ("running", LONG_AGO)
            program.process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(30):
                while (await there.tenant.read_job(job_id))["lease_expires_at"] == LONG_AGO:
                    pass  # each query waits for Postgres
            await there.sweep()  # all leases count now, and this one has been renewed
            hold.set()
            await program.wait_for_event("job_succeeded")
            assert (await there.tenant.read_job(job_id))["attempt"] == 1
            await database.aclose()


async def sweep(harness: WorkerHarness) -> None:
    """Run one sweep with a new sweeper, grace period included."""
    doorbell = Doorbell(harness.redis, RedisSettings())
    announcer = Announcer(harness.redis, doorbell)
    sweeper = Sweeper(
        harness.database, doorbell, announcer, harness.jobs, WebhookSettings(), queues=QUEUES
    )
    async with harness.database.statement() as connection:
        await sweeper.sweep(connection)


async def test_a_worker_shuts_down_although_postgres_is_unavailable(
    environment: dict[str, str],
) -> None:
    async with running(environment | {"INFILL_DATABASE_URL": NOWHERE}, "worker") as program:
        await program.wait_for_event("dependency_unavailable")
        await program.wait_for_event("worker_ready")
        program.process.terminate()
        await program.wait_for_event("worker_stopped")
        assert await program.exit_code() == 0


@asynccontextmanager
async def closed(servers: Servers, name: str) -> AsyncIterator[None]:
    """Reject all connections to a database while the block lasts."""
    admin = await asyncpg.connect(servers.postgres.url("postgres"))
    await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
    )
    yield
    await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    await admin.close()


async def test_an_outcome_that_cannot_be_written_is_left_to_the_lease(
    harness: WorkerHarness, servers: Servers, database_url: str
) -> None:
    hold = harness.engine_control.hold_next()
    job_id = await harness.queue_inpaint()
    harness = harness.replace(jobs=JobSettings(lease_seconds=0.1, heartbeat_seconds=0.05))
    async with harness.worker() as worker:
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation()
        async with closed(servers, database_url.rpartition("/")[2]):
            hold.set()
            with capture_logs() as lines:
                (error,) = await asyncio.gather(running_jobs, return_exceptions=True)
        assert isinstance(error, Exception)
        assert is_unavailable(error)
        assert worker.heartbeat.claim_count == 0
    await harness.database.aclose()  # its connections were closed by the server
    assert {line["event"] for line in lines} >= {"outcome_write_delayed"}
    assert (await harness.tenant.read_job(job_id))["state"] == "running"
