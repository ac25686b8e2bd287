"""The usage between two measurements may be too high, never too low."""

import asyncio

import pytest

from api.limits.quota_usage import (
    FRESH_SECONDS,
    UNLIMITED,
    Measurement,
    QuotaAmount,
    QuotaScope,
    QuotaUsage,
)
from common.runtime.clock import monotonic

JOB = QuotaAmount(1, 5)
NOTHING = QuotaAmount()


class Rows:
    """Stand-in for the rows in Postgres; a read can be blocked after it saw them."""

    def __init__(self) -> None:
        self.amount = NOTHING
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self) -> QuotaAmount:
        seen = self.amount
        self.reading.set()
        await self.go_on.wait()
        return seen


@pytest.fixture
def usage() -> QuotaUsage:
    return QuotaUsage(QuotaScope(1, 100, None))


@pytest.fixture
def rows() -> Rows:
    return Rows()


async def measure(usage: QuotaUsage, rows: Rows) -> Measurement:
    return (await usage.measure(rows.read)).value


async def test_a_measurement_is_fresh_for_a_second(usage: QuotaUsage, rows: Rows) -> None:
    assert (await usage.measure(rows.read)).fresh_seconds == FRESH_SECONDS


async def test_a_slow_measurement_is_fresh_for_longer(usage: QuotaUsage, rows: Rows) -> None:
    begun = monotonic()
    rows.go_on.clear()
    measuring = asyncio.create_task(usage.measure(rows.read))
    await rows.reading.wait()
    asyncio.get_running_loop().call_later(0.1, rows.go_on.set)
    fresh_seconds = (await measuring).fresh_seconds
    assert 2.0 <= fresh_seconds <= (monotonic() - begun) * 20


async def test_a_recorded_job_is_added_until_it_is_measured(usage: QuotaUsage, rows: Rows) -> None:
    before = await measure(usage, rows)
    with usage.reserve(JOB) as reservation:
        assert usage.total(before) == JOB
        reservation.keep()
    assert usage.total(before) == JOB
    rows.amount = JOB
    assert usage.total(await measure(usage, rows)) == JOB


async def test_a_reservation_that_is_not_kept_is_released(usage: QuotaUsage, rows: Rows) -> None:
    measurement = await measure(usage, rows)
    with pytest.raises(LookupError), usage.reserve(JOB):
        raise LookupError
    assert usage.total(measurement) == NOTHING


async def test_a_job_recorded_during_a_measurement_is_counted(
    usage: QuotaUsage, rows: Rows
) -> None:
    rows.go_on.clear()
    with usage.reserve(JOB) as reservation:
        measuring = asyncio.create_task(measure(usage, rows))
        await rows.reading.wait()  # the rows were read without it
        reservation.keep()
    rows.go_on.set()
    assert usage.total(await measuring) == JOB


async def test_a_reservation_of_a_running_request_is_counted(usage: QuotaUsage, rows: Rows) -> None:
    with usage.reserve(JOB):
        measurement = await measure(usage, rows)
        assert usage.total(measurement) == JOB
    assert usage.total(measurement) == NOTHING


def test_the_unlimited_reservation_can_be_kept_repeatedly() -> None:
    for _ in range(2):
        with UNLIMITED as reservation:
            reservation.keep()
