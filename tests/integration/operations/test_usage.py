"""The usage report, by which operators charge."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import update

from common.domain.errors import InvalidPeriodError, NotFoundError
from common.domain.job import JobState
from common.operations.usage import UsageLine, report_usage
from common.postgres.models import UsageEntry
from common.postgres.repositories.jobs.finish import succeed
from common.postgres.repositories.usage.ledger import fold_usage
from tests.integration.repositories.support.tenant_rows import REQUEST, RESULT, TenantRows

DAY = date(2026, 5, 4)


async def use(alice: TenantRows, day: date = DAY) -> None:
    """Let a job succeed, and set the day of its usage entry."""
    claim = await alice.add_job(JobState.RUNNING)
    async with alice.database.statement() as connection:
        assert await succeed(connection, claim, RESULT) is not None
        await connection.execute(
            update(UsageEntry)
            .where(UsageEntry.job_id == claim.job_id)
            .values(created_at=datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
        )


async def report(
    alice: TenantRows, tenant: str | None, since: date = DAY, until: date = DAY
) -> list[UsageLine]:
    return await report_usage(alice.database, tenant=tenant, since=since, until=until)


async def test_a_report_covers_one_tenant_or_all(alice: TenantRows, bob: TenantRows) -> None:
    for _ in range(2):
        await use(alice)
    await use(bob)
    theirs = await report(alice, "alice")
    assert [(line.tenant, line.day, line.model, line.jobs) for line in theirs] == [
        ("alice", DAY, REQUEST.model, 2)
    ]
    assert (theirs[0].images, theirs[0].gpu_milliseconds) == (4, 3820)
    assert theirs[0].flagged_images == 2
    assert theirs[0].megapixel_steps == 20
    everyones = await report(alice, None)
    assert [(line.tenant, line.jobs) for line in everyones] == [("alice", 2), ("bob", 1)]


async def test_both_days_of_the_period_are_included(alice: TenantRows) -> None:
    days = [date(2026, 5, day) for day in (3, 4, 5, 6)]
    for day in days[:2]:
        await use(alice, day)
    async with alice.database.statement() as connection:
        assert await fold_usage(connection, limit=10) == 2
    for day in days[2:]:
        await use(alice, day)
    assert [line.day for line in await report(alice, "alice", days[0], days[3])] == days
    assert [line.day for line in await report(alice, "alice", days[1], days[2])] == days[1:3]
    assert [line.day for line in await report(alice, "alice", date.min, date.max)] == days


async def test_a_report_without_usage_is_empty(alice: TenantRows) -> None:
    assert await report(alice, "alice") == []


async def test_an_unknown_tenant_is_an_error(alice: TenantRows) -> None:
    with pytest.raises(NotFoundError, match="no tenant called carol"):
        await report(alice, "carol")


async def test_a_period_that_ends_before_it_begins_is_rejected(alice: TenantRows) -> None:
    with pytest.raises(InvalidPeriodError, match=r"^until \(2026-05-03\) .* since \(2026-05-04\)$"):
        await report(alice, None, DAY, date(2026, 5, 3))
