"""Folding the ledger, and reading it exactly at any moment."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from common.domain.job import JobState
from common.postgres.models import DailyUsage, Tenant, UnfoldedUsage, UsageEntry
from common.postgres.repositories.jobs.finish import fail, succeed
from common.postgres.repositories.usage.ledger import (
    UsageLine,
    fold_usage,
    read_month_credits,
    read_usage,
)
from deploy.local.processes.readiness import wait_until_ready
from tests.integration.repositories.support.tenant_rows import REQUEST, RESULT, TenantRows

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
COST = Decimal(10)  # of one job of REQUEST


async def use(
    alice: TenantRows, *, at: datetime | None = None, model: str | None = None, **columns: object
) -> int:
    """Let a job succeed, set the time of its usage entry, and return the job's id."""
    claim = await alice.add_job(JobState.RUNNING, **columns)
    dated = {"created_at": at} if at else {}
    named = {"model": model} if model else {}
    async with alice.database.transaction() as connection:
        assert await succeed(connection, claim, RESULT) is not None
        if dated or named:
            await connection.execute(
                update(UsageEntry).where(UsageEntry.job_id == claim.job_id).values(**dated, **named)
            )
    return claim.job_id


async def fold(alice: TenantRows, limit: int = 100) -> int:
    async with alice.database.statement() as connection:
        return await fold_usage(connection, limit=limit)


async def read(alice: TenantRows, *, of_all: bool = False) -> list[UsageLine]:
    async with alice.database.statement() as connection:
        tenant_id = None if of_all else alice.tenant_id
        return await read_usage(connection, tenant_id, date.min, date.max)


async def month(alice: TenantRows) -> Decimal:
    """Read on both kinds of connection, which must agree."""
    async with alice.database.statement() as connection:
        used = await read_month_credits(connection, alice.tenant_id)
    async with alice.database.direct() as direct:
        assert await read_month_credits(direct, alice.tenant_id) == used
    assert isinstance(used, Decimal)
    return used


async def test_folding_sums_by_tenant_day_and_model(alice: TenantRows, bob: TenantRows) -> None:
    later = NOON + timedelta(days=1)
    for at, model in ((NOON, "a"), (NOON, "a"), (NOON, "b"), (later, "a")):
        await use(alice, at=at, model=model)
    await use(bob, at=NOON, model="a")
    assert await fold(alice) == 5
    day, next_day = NOON.date(), date(2026, 5, 5)
    key = ("tenant_id", "day", "model")
    rows = await alice.read_rows(DailyUsage)
    assert [tuple(row[name] for name in (*key, "jobs")) for row in rows] == [
        (alice.tenant_id, day, "a", 2),
        (alice.tenant_id, day, "b", 1),
        (alice.tenant_id, next_day, "a", 1),
        (bob.tenant_id, day, "a", 1),
    ]
    amounts = ("images", "megapixel_steps", "gpu_milliseconds", "flagged_images")
    assert [rows[0][name] for name in amounts] == [4, 2 * COST, 3820, 2]
    assert await alice.read_rows(UnfoldedUsage) == []
    assert len(await alice.read_rows(UsageEntry)) == 5


async def test_folding_adds_to_existing_totals(alice: TenantRows) -> None:
    for _ in range(3):
        await use(alice, at=NOON)
        assert await fold(alice) == 1
    assert await fold(alice) == 0
    (row,) = await alice.read_rows(DailyUsage)
    assert (row["jobs"], row["images"], row["gpu_milliseconds"]) == (3, 6, 5730)
    assert row["flagged_images"] == 3
    assert row["megapixel_steps"] == 3 * COST


async def test_no_more_than_the_limit_is_folded(alice: TenantRows) -> None:
    for _ in range(5):
        await use(alice)
    assert [await fold(alice, limit=2) for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 5, 4, 23, 59, 59, 999999, tzinfo=UTC), date(2026, 5, 4)),
        (datetime(2026, 5, 5, tzinfo=UTC), date(2026, 5, 5)),
    ],
)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_days_are_in_utc_whatever_the_servers_time_zone(
    alice: TenantRows, at: datetime, day: date, zone: str
) -> None:
    await use(alice, at=at)
    async with alice.database.transaction() as connection:
        await connection.execute(text(f"SET LOCAL timezone = '{zone}'"))
        (before,) = await read_usage(connection, alice.tenant_id, day, day)
        await fold_usage(connection, limit=1)
        (after,) = await read_usage(connection, alice.tenant_id, day, day)
    assert before == after
    assert after.day == day
    assert [row["day"] for row in await alice.read_rows(DailyUsage)] == [day]


async def test_usage_reads_the_same_before_and_after_folding(
    alice: TenantRows, bob: TenantRows
) -> None:
    # Not exact in binary: sums of floats would differ in the last digits.
    costs = ["0.1", "0.2", "0.3", "0.000001", "1234567.654321"]
    for cost in costs:
        await use(alice, cost=float(cost))
    await use(bob)
    for _ in range(5):
        (line,) = await read(alice)
        assert line.megapixel_steps == sum(map(Decimal, costs))
        assert (line.jobs, line.images, line.gpu_milliseconds) == (5, 10, 9550)
        assert line.flagged_images == 5  # one of two in RESULT
        assert line.model == REQUEST.model
        assert [line.tenant for line in await read(alice, of_all=True)] == ["alice", "bob"]
        assert await month(alice) == sum(map(Decimal, costs))
        assert await fold(alice, limit=1) == 1


async def test_usage_is_sorted_by_tenant_day_and_model(alice: TenantRows, bob: TenantRows) -> None:
    later = NOON + timedelta(days=1)
    await use(bob, at=NOON, model="a")
    for at, model in ((later, "a"), (NOON, "b"), (NOON, "B"), (NOON, "_"), (later, "A")):
        await use(alice, at=at, model=model)
    lines = await read(alice, of_all=True)
    keys = [(line.tenant, line.day, line.model) for line in lines]
    assert len(keys) == 6
    assert keys == sorted(keys)


async def test_a_failed_job_is_not_charged(alice: TenantRows) -> None:
    claim = await alice.add_job(JobState.RUNNING)
    async with alice.database.statement() as connection:
        assert await fail(connection, claim, code="x", message="y") is not None
    assert await fold(alice) == 0
    assert await read(alice) == []
    assert await month(alice) == 0


async def test_the_month_begins_on_its_first_day(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        begins = (
            await connection.execute(select(func.date_trunc("month", func.now(), "UTC")))
        ).scalar_one()
    await use(alice, at=begins)
    await use(alice, at=begins - timedelta(microseconds=1))
    assert await month(alice) == COST
    await fold(alice)
    assert await month(alice) == COST
    await use(alice)
    assert await month(alice) == 2 * COST


async def test_an_entry_that_is_committed_late_is_folded(
    alice: TenantRows, bob: TenantRows
) -> None:
    slow = await alice.add_job(JobState.RUNNING)
    async with alice.database.transaction() as connection:
        await succeed(connection, slow, RESULT)
        await use(bob)
        assert await fold(alice) == 1
    assert await fold(alice) == 1
    assert [line.jobs for line in await read(alice, of_all=True)] == [1, 1]


async def test_concurrent_folds_take_different_entries(alice: TenantRows) -> None:
    for _ in range(6):
        await use(alice)
    async with alice.database.transaction() as connection:
        assert await fold_usage(connection, limit=3) == 3
        other = asyncio.create_task(fold(alice, limit=3))
        # It waits for the lock on the total to which both add.
        await wait_until_ready(alice.is_blocked, "the other fold to wait for a lock", 10)
    assert await other == 3
    (row,) = await alice.read_rows(DailyUsage)
    assert row["jobs"] == 6


async def test_concurrent_folds_lose_nothing_and_count_nothing_twice(alice: TenantRows) -> None:
    async def finish() -> None:
        for number in range(10):
            await use(alice, model=f"m{number % 3}")

    async def keep_folding() -> None:
        while not finished.is_set():
            await fold(alice, limit=2)

    finished = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(keep_folding())
        async with asyncio.TaskGroup() as finishing:
            for _ in range(4):
                finishing.create_task(finish())
        finished.set()
    while await fold(alice):
        pass
    rows = await alice.read_rows(DailyUsage)
    assert sum(row["jobs"] for row in rows) == sum(row["flagged_images"] for row in rows) == 40
    assert sum(row["megapixel_steps"] for row in rows) == 40 * COST


async def test_a_failed_fold_changes_nothing(alice: TenantRows) -> None:
    for _ in range(3):
        await use(alice)
    before = await alice.read_rows(UnfoldedUsage)
    async with alice.database.statement() as connection:
        # The statement fails at the totals, after the marks were deleted.
        await connection.execute(text("ALTER TABLE daily_usage ADD CHECK (jobs < 3)"))
        with pytest.raises(DBAPIError):
            await fold_usage(connection, limit=10)
    assert await alice.read_rows(UnfoldedUsage) == before
    assert await alice.read_rows(DailyUsage) == []
    (line,) = await read(alice)
    assert line.jobs == 3


async def test_the_usage_of_a_deleted_tenant_is_deleted(alice: TenantRows, bob: TenantRows) -> None:
    for whose in (alice, bob):
        await use(whose, at=NOON)
        await fold(whose)
        await use(whose)
    async with alice.database.statement() as connection:
        await connection.execute(text("DELETE FROM jobs"))
        gone = text("DELETE FROM tenants WHERE id = :id")
        await connection.execute(gone, {"id": alice.tenant_id})
    for table in (UsageEntry, UnfoldedUsage, DailyUsage):
        left = await alice.read_rows(table)
        assert {row["tenant_id"] for row in left} == {bob.tenant_id}
    assert [row["name"] for row in await alice.read_rows(Tenant)] == ["bob"]
