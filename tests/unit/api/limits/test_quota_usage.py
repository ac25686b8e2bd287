"""What is reckoned with between two measurements: never too little."""

import asyncio

import pytest

from api.limits.quota_usage import CURRENT, ENDLESS, SPACING_SECONDS, QuotaAmount, QuotaUsage
from common.runtime.clock import monotonic

JOB = QuotaAmount(1, 5)


class Rows:
    """Stands for the rows, and counts how often they are read."""

    def __init__(self) -> None:
        self.load = QuotaAmount()
        self.reads = 0
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self) -> QuotaAmount:
        self.reads += 1
        seen = self.load
        self.reading.set()
        await self.go_on.wait()
        return seen


def age(account: QuotaUsage, seconds: float) -> None:
    """Age what is known, not the clock."""
    account._measured_at -= seconds


async def test_one_measurement_serves_for_a_second() -> None:
    account, rows = QuotaUsage(), Rows()
    for _ in range(3):
        await account.measure(rows.read, to_refuse=False)
    assert rows.reads == 1
    age(account, SPACING_SECONDS)
    await account.measure(rows.read, to_refuse=False)
    assert rows.reads == 2


async def test_to_refuse_it_must_be_younger() -> None:
    account, rows = QuotaUsage(), Rows()
    await account.measure(rows.read, to_refuse=False)
    age(account, SPACING_SECONDS * CURRENT)
    await account.measure(rows.read, to_refuse=False)
    assert rows.reads == 1
    await account.measure(rows.read, to_refuse=True)
    assert rows.reads == 2


async def test_who_comes_meanwhile_shares_it() -> None:
    account, rows = QuotaUsage(), Rows()
    rows.go_on.clear()
    callers = [asyncio.create_task(account.measure(rows.read, to_refuse=True)) for _ in range(9)]
    await rows.reading.wait()
    rows.go_on.set()
    await asyncio.gather(*callers)
    assert rows.reads == 1


async def test_what_takes_long_is_measured_less_often() -> None:
    account, rows = QuotaUsage(), Rows()
    begun = monotonic()
    rows.go_on.clear()
    measuring = asyncio.create_task(account.measure(rows.read, to_refuse=False))
    await rows.reading.wait()
    asyncio.get_running_loop().call_later(0.1, rows.go_on.set)
    await measuring
    took = monotonic() - begun
    assert 2.0 <= account._spacing <= took * 20


async def test_what_was_accepted_is_carried_forward_until_it_is_measured() -> None:
    account, rows = QuotaUsage(), Rows()
    await account.measure(rows.read, to_refuse=False)
    with account.hold(JOB) as room:
        assert account.load == JOB
        room.take()
    assert account.load == JOB
    rows.load = JOB
    age(account, SPACING_SECONDS)
    await account.measure(rows.read, to_refuse=False)
    assert account.load == JOB


async def test_room_that_was_not_taken_is_given_back() -> None:
    account = QuotaUsage()
    with pytest.raises(LookupError), account.hold(JOB):
        raise LookupError
    assert account.load == QuotaAmount()


async def test_a_job_recorded_while_the_rows_are_read_is_not_left_out() -> None:
    account, rows = QuotaUsage(), Rows()
    rows.go_on.clear()
    with account.hold(JOB) as room:
        measuring = asyncio.create_task(account.measure(rows.read, to_refuse=False))
        await rows.reading.wait()  # they were read without it
        room.take()
    rows.go_on.set()
    await measuring
    assert account.load == JOB


async def test_a_request_under_way_is_reckoned_with_whatever_is_measured() -> None:
    account, rows = QuotaUsage(), Rows()
    with account.hold(JOB):
        await account.measure(rows.read, to_refuse=False)
        assert account.load == JOB
    assert account.load == QuotaAmount()


async def test_a_failed_measurement_leaves_the_next_to_measure() -> None:
    account, rows = QuotaUsage(), Rows()

    async def fail() -> QuotaAmount:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await account.measure(fail, to_refuse=False)
    await account.measure(rows.read, to_refuse=False)
    assert rows.reads == 1


def test_endless_room_is_anybodys() -> None:
    for _ in range(2):
        with ENDLESS as room:
            room.take()
