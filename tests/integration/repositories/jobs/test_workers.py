"""Heartbeats of workers."""

from datetime import timedelta

from common.postgres.models import Worker
from common.postgres.repositories.jobs.workers import delete_worker, record_worker_heartbeat
from tests.integration.repositories.support.tenant_rows import QUEUE, TenantRows


async def test_heartbeats_are_recorded_and_workers_deleted(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        for name in ("w1", "w2"):
            await record_worker_heartbeat(connection, name, [QUEUE, "x"])
        before = {row["name"]: row for row in await alice.read_rows(Worker)}
        await record_worker_heartbeat(connection, "w1", ["x"])
        await delete_worker(connection, "w2")
    (left,) = await alice.read_rows(Worker)
    assert (left["name"], left["queues"]) == ("w1", ["x"])
    assert left["started_at"] == before["w1"]["started_at"]
    assert left["seen_at"] - before["w1"]["seen_at"] > timedelta(0)
