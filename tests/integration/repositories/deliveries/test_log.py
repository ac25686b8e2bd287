"""What a tenant asks of its deliveries is read through indexes, and carries its job's track_id."""

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
from tests.integration.repositories.support.counters import Books
from tests.integration.repositories.support.query_plans import fill, plans

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
# Among the rows of other tenants, with everything in them that is looked for.
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
    """One statement for a tenant."""

    def __call__(self, connection: AsyncConnection, /, *, tenant_id: int) -> Awaitable[object]:
        """Run it."""


def listing(after: int | None = None, **chosen: Any) -> Call:
    def call(connection: AsyncConnection, /, *, tenant_id: int) -> Awaitable[object]:
        page = DeliveryFilter(**chosen)
        return list_deliveries(connection, tenant_id, page, after=after, limit=50)

    return call


def redelivering(**chosen: Any) -> Call:
    def call(connection: AsyncConnection, /, *, tenant_id: int) -> Awaitable[object]:
        return redeliver_failed(connection, tenant_id, since=SINCE, **chosen)

    return call


async def test_what_is_asked_is_read_through_indexes(books: Books, database_url: str) -> None:
    """As the gateway asks it: row-level security keeps some conditions away from indexes."""
    await fill(books)
    async with books.database.statement() as connection:
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
    as_gateway = f"{database_url}?role={GATEWAY_ROLE}&infill.tenant_id={books.tenant_id}"
    for call, index in asked:
        mine = partial(call, tenant_id=books.tenant_id)
        for plan in await plans(books.database, as_gateway, mine):
            assert index in plan
            assert "Seq Scan on deliveries" not in plan


async def in_list(books: Books, **chosen: Any) -> list[DeliveryRecord]:
    async with books.database.statement() as connection:
        found = await list_deliveries(
            connection, books.tenant_id, DeliveryFilter(**chosen), after=None, limit=50
        )
    return found.deliveries


async def test_every_writer_gives_a_delivery_its_jobs_track_id(books: Books) -> None:
    """A trigger sets the hash by which it is found."""
    made = await books.delivery_in(DeliveryState.EXHAUSTED)
    found = await in_list(books, track_id="order-9")
    assert [delivery.id for delivery in found] == [made.delivery_id]
    assert await in_list(books, track_id="order-8") == []


@pytest.mark.parametrize("state", list(DeliveryState))
async def test_what_has_ended_is_pending_anew(books: Books, state: DeliveryState) -> None:
    made = await books.delivery_in(state, failures=3)
    before = await books.delivery(made.delivery_id)
    async with books.database.statement() as connection:
        done = await redeliver(connection, books.tenant_id, made.delivery_id)
    after = await books.delivery(made.delivery_id)
    assert done == (state is not DeliveryState.SENDING)
    assert after["attempt"] == before["attempt"]  # the fence
    if state in {DeliveryState.SENDING, DeliveryState.PENDING}:
        assert after == before
    else:
        assert (after["state"], after["failures"], after["finished_at"]) == (
            *(DeliveryState.PENDING, 0),
            None,
        )


async def test_it_is_one_tenants_own(books: Books, other_books: Books) -> None:
    made = await books.delivery_in(DeliveryState.EXHAUSTED, finished_at=SINCE)
    async with books.database.statement() as connection:
        assert not await redeliver(connection, other_books.tenant_id, made.delivery_id)
        assert await redeliver_failed(connection, other_books.tenant_id, since=SINCE) == 0
        assert await redeliver_failed(connection, books.tenant_id, since=SINCE) == 1
