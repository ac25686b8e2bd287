"""Requests of tenants work under row-level security, and SQL functions reveal nothing else."""

from uuid import uuid4

from sqlalchemy import insert

from common.domain.job import JobState
from common.postgres.database import Database
from common.postgres.models import ApiKey, Job, TenantQueue, Worker
from common.postgres.repositories.fair_queue.queue_snapshot import (
    read_queue_snapshot,
    read_waiting_tenants,
)
from common.postgres.repositories.fair_queue.tenant_position import read_tenant_position
from common.postgres.repositories.jobs.finish import cancel
from common.postgres.repositories.jobs.read import find_ended, read_job
from common.postgres.repositories.jobs.record import (
    IdempotencyKeyTaken,
    JobRecorded,
    JobRepeated,
    record_job,
)
from common.postgres.repositories.tenants.authentication import find_key_owner
from common.postgres.repositories.usage.ledger import read_month_credits
from common.postgres.repositories.usage.quotas import count_unfinished, is_idempotency_key_used
from tests.integration.repositories.support.tenant_rows import QUEUE, TenantRows


async def test_a_job_is_recorded_repeated_and_read(
    gateway_database: Database, bob: TenantRows
) -> None:
    new = bob.new_job(idempotency_key="order-1", request_digest=b"one")
    async with gateway_database.direct(bob.tenant_id) as connection:
        recorded = await record_job(connection, new)
        assert isinstance(recorded, JobRecorded)
        again = await record_job(connection, new)
        assert isinstance(again, JobRepeated)
        other = bob.new_job(idempotency_key="order-1", request_digest=b"two")
        assert await record_job(connection, other) == IdempotencyKeyTaken(recorded.job_id)
        assert await is_idempotency_key_used(connection, bob.tenant_id, "order-1")
        view = await read_job(connection, tenant_id=bob.tenant_id, job_id=recorded.job_id)
        assert view is not None
        assert view.job.id == recorded.job_id


async def test_another_tenants_job_and_key_are_not_found(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    """The statements ask for alice's rows by mistake; the connection is set to bob."""
    new = alice.new_job(idempotency_key="order-1", request_digest=b"one")
    recorded = await alice.record_job(
        idempotency_key="order-1", request_digest=b"one", file_prefix=new.file_prefix
    )
    assert isinstance(recorded, JobRecorded)
    async with gateway_database.direct(bob.tenant_id) as connection:
        asked = {"tenant_id": alice.tenant_id, "job_id": recorded.job_id}
        assert await read_job(connection, **asked) is None
        assert not await is_idempotency_key_used(connection, alice.tenant_id, "order-1")
        assert (await count_unfinished(connection, alice.tenant_id, limit=9)).queued == 0
        assert await read_month_credits(connection, alice.tenant_id) == 0
        own = await read_tenant_position(connection, tenant_id=alice.tenant_id, queue=QUEUE)
        assert (own.has_ready, own.queued.total.jobs) == (False, 0)


async def test_a_tenants_position_and_credits_are_read(
    gateway_database: Database, bob: TenantRows
) -> None:
    async with gateway_database.direct(bob.tenant_id) as connection:
        own = await read_tenant_position(connection, tenant_id=bob.tenant_id, queue=QUEUE)
        assert (own.has_ready, own.queued.total.jobs) == (True, 1)
        assert (await count_unfinished(connection, bob.tenant_id, limit=9)).queued == 1
        await read_month_credits(connection, bob.tenant_id)


async def test_a_returning_tenant_is_raised_to_the_queues_virtual_time_without_seeing_others(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    async with alice.database.statement() as connection:
        await connection.exec_driver_sql(
            "UPDATE tenant_queues SET start_tag = 70 WHERE tenant_id = $1", (alice.tenant_id,)
        )
        await connection.exec_driver_sql(
            "UPDATE tenant_queues SET has_ready = false WHERE tenant_id = $1", (bob.tenant_id,)
        )
    async with gateway_database.direct(bob.tenant_id) as connection:
        await record_job(connection, bob.new_job())
        await record_job(connection, bob.new_job(queue="new here"))
    rows = {(row["tenant_id"], row["queue"]): row for row in await bob.read_rows(TenantQueue)}
    assert rows[bob.tenant_id, QUEUE]["virtual_time"] == 70
    assert rows[bob.tenant_id, QUEUE]["has_ready"]
    assert rows[bob.tenant_id, "new here"]["virtual_time"] == 0


async def test_a_key_is_looked_up_by_its_digest_alone(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    async with gateway_database.direct() as connection:
        found = await find_key_owner(connection, b"alice")
        assert found is not None
        assert found.tenant_id == alice.tenant_id
        assert await find_key_owner(connection, b"nobody") is None
    used = {row["tenant_id"]: row["last_used_at"] for row in await bob.read_rows(ApiKey)}
    assert used[alice.tenant_id] is not None
    assert used[bob.tenant_id] is None


async def test_only_the_jobs_asked_for_are_reported_as_ended(
    gateway_database: Database, alice: TenantRows
) -> None:
    ended = await alice.add_job(JobState.FAILED)
    prefixes = {row["id"]: row["file_prefix"] for row in await alice.read_rows(Job)}
    async with gateway_database.direct() as connection:
        assert await find_ended(connection, [uuid4()]) == set()
        assert await find_ended(connection, list(prefixes.values())) >= {prefixes[ended.job_id]}


async def test_a_queue_is_read_as_anonymous_numbers(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    async with alice.database.statement() as connection:
        await connection.execute(insert(Worker).values(name="w", queues=[QUEUE]))
    async with gateway_database.direct() as connection:
        seen = await read_queue_snapshot(connection, QUEUE, silent_seconds=60)
        waiting_tenants, _ = await read_waiting_tenants(connection, QUEUE)
    async with alice.database.direct() as connection:
        assert await read_queue_snapshot(connection, QUEUE, silent_seconds=60) == seen
    assert len(waiting_tenants) == 2
    assert seen.engines == 1
    assert {alice.tenant_id, bob.tenant_id}.isdisjoint(
        vars(type(seen))  # no field of the result identifies a tenant
    )


async def test_a_job_is_canceled_only_for_the_connections_tenant(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    hers, his = await alice.queue_job(), await bob.queue_job()
    async with gateway_database.direct(bob.tenant_id) as connection:
        assert await cancel(connection, tenant_id=bob.tenant_id, job_id=hers) is None
        assert await cancel(connection, tenant_id=alice.tenant_id, job_id=hers) is None
        assert await cancel(connection, tenant_id=bob.tenant_id, job_id=his) is not None
    assert (await alice.read_job(hers))["state"] == "queued"
    assert (await bob.read_job(his))["state"] == "canceled"
