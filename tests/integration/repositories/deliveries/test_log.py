"""Lists and redeliveries use indexes; a delivery is found by its job's track_id."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.delivery import DeliveryRecord, DeliveryState
from common.postgres.database import GATEWAY_ROLE
from common.postgres.repositories.deliveries.log import DeliveryFilter, list_deliveries
from common.postgres.repositories.deliveries.redelivery import redeliver, redeliver_failed
from tests.integration.repositories.support.query_plans import fill, plans
from tests.integration.repositories.support.tenant_rows import TenantRows

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
# Spread the rows over many tenants, with all states and hashes that are searched.
SPREAD = (
    "UPDATE jobs SET tenant_id = (SELECT min(id) + jobs.id % 30 FROM tenants)",
    """UPDATE deliveries SET tenant_id = jobs.tenant_id, track_hash = job_id % 1000
    FROM jobs WHERE jobs.id = job_id""",
    """UPDATE deliveries SET state = 'exhausted', finished_at = now()
    WHERE state = 'delivered' AND job_id % 5 = 0""",
    "UPDATE deliveries SET finished_at = now() WHERE state = 'delivered'",
    "ANALYZE",
)


class Call(Protocol):
    """A call that executes one statement for a tenant."""

    def __call__(self, connection: AsyncConnection, /, *, tenant_id: int) -> Awaitable[object]:
        """Execute the statement."""


def listing(after: int | None = None, **chosen: Any) -> Call:
    def call(connection: AsyncConnection, /, *, tenant_id: int) -> Awaitable[object]:
        page = DeliveryFilter(**chosen)
        return list_deliveries(connection, tenant_id, page, after=after, limit=50)

    return call


def redelivering(**chosen: Any) -> Call:
    def call(connection: AsyncConnection, /, *, tenant_id: int) -> Awaitable[object]:
        return redeliver_failed(connection, tenant_id, since=SINCE, **chosen)

    return call


async def test_lists_and_redeliveries_use_indexes(alice: TenantRows, database_url: str) -> None:
    """With the gateway's role: row-level security prevents index use for some conditions."""
    await fill(alice)
    async with alice.database.statement() as connection:
        for statement in SPREAD:
            await connection.execute(text(statement))
    asked: list[tuple[Call, str]] = [
        (listing(), "ix_deliveries_tenant_id_job_id"),
        (listing(after=3000), "ix_deliveries_tenant_id_job_id"),
        (listing(track_id="17"), "ix_deliveries_track_hash"),
        (listing(job_id=17), "_job_id"),
        (redelivering(), "ix_deliveries_failed"),
        (redelivering(state=DeliveryState.DISCARDED), "ix_deliveries_failed"),
    ]
    as_gateway = f"{database_url}?role={GATEWAY_ROLE}&infill.tenant_id={alice.tenant_id}"
    for call, index in asked:
        mine = partial(call, tenant_id=alice.tenant_id)
        for plan in await plans(alice.database, as_gateway, mine):
            assert index in plan
            assert "Seq Scan on deliveries" not in plan


async def in_list(alice: TenantRows, **chosen: Any) -> list[DeliveryRecord]:
    async with alice.database.statement() as connection:
        found = await list_deliveries(
            connection, alice.tenant_id, DeliveryFilter(**chosen), after=None, limit=50
        )
    return found.deliveries


async def test_a_delivery_is_found_by_its_jobs_track_id(alice: TenantRows) -> None:
    """A trigger sets the hash, whichever statement inserts the delivery."""
    made = await alice.add_delivery(DeliveryState.EXHAUSTED)
    found = await in_list(alice, track_id="order-9")
    assert [delivery.id for delivery in found] == [made.delivery_id]
    assert await in_list(alice, track_id="order-8") == []


@pytest.mark.parametrize("state", list(DeliveryState))
async def test_an_ended_delivery_becomes_pending_again(
    alice: TenantRows, state: DeliveryState
) -> None:
    made = await alice.add_delivery(state, failures=3)
    before = await alice.read_delivery(made.delivery_id)
    async with alice.database.statement() as connection:
        done = await redeliver(connection, alice.tenant_id, made.delivery_id)
    after = await alice.read_delivery(made.delivery_id)
    assert done == (state is not DeliveryState.SENDING)
    assert after["attempt"] == before["attempt"]  # the fence
    if state in {DeliveryState.SENDING, DeliveryState.PENDING}:
        assert after == before
    else:
        assert (after["state"], after["failures"], after["finished_at"]) == (
            *(DeliveryState.PENDING, 0),
            None,
        )


async def test_only_its_tenant_redelivers_a_delivery(alice: TenantRows, bob: TenantRows) -> None:
    made = await alice.add_delivery(DeliveryState.EXHAUSTED, finished_at=SINCE)
    async with alice.database.statement() as connection:
        assert not await redeliver(connection, bob.tenant_id, made.delivery_id)
        assert await redeliver_failed(connection, bob.tenant_id, since=SINCE) == 0
        assert await redeliver_failed(connection, alice.tenant_id, since=SINCE) == 1
