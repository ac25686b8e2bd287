"""The run time limit of an attempt and its reasons to stop."""

import asyncio

import pytest

from common.domain.errors import (
    ClaimLostError,
    GenerationStoppedError,
    InfillError,
    RunTimeExceededError,
)
from tests.support.generation_request import job_record
from worker.attempt import Attempt

DEADLINE_SECONDS = 20
HOUR = 3600.0


def attempt(max_run_seconds: float = HOUR) -> Attempt:
    return Attempt(job_record(), max_run_seconds=max_run_seconds)


async def hang(under_way: Attempt, began: asyncio.Event) -> None:
    async with under_way.interruptible():
        began.set()
        await asyncio.Event().wait()


async def assert_stopped(under_way: Attempt) -> None:
    with pytest.raises(InfillError):
        await asyncio.wait_for(hang(under_way, asyncio.Event()), DEADLINE_SECONDS)


@pytest.mark.parametrize("reason", [ClaimLostError("taken"), RunTimeExceededError(5)])
async def test_a_stopped_attempt_cancels_its_block_with_the_first_reason(
    reason: InfillError,
) -> None:
    under_way, began = attempt(), asyncio.Event()
    hanging = asyncio.create_task(hang(under_way, began))
    await began.wait()
    assert not under_way.should_stop()
    under_way.stop(reason)
    under_way.stop(GenerationStoppedError("later"))
    with pytest.raises(type(reason)) as raised:
        await asyncio.wait_for(hanging, DEADLINE_SECONDS)
    assert raised.value is reason
    assert under_way.reason is reason
    assert under_way.should_stop()


async def test_a_stopped_attempt_cancels_the_next_block_too() -> None:
    under_way = attempt()
    under_way.stop(ClaimLostError("taken"))
    with pytest.raises(ClaimLostError):
        await asyncio.wait_for(hang(under_way, asyncio.Event()), DEADLINE_SECONDS)


async def test_run_time_counts_inside_timed_and_the_error_names_the_limit() -> None:
    under_way = attempt(0.01)
    with under_way.timed():
        await assert_stopped(under_way)
    assert isinstance(under_way.reason, RunTimeExceededError)
    assert under_way.reason.message == "the job ran longer than the limit of 0.01 seconds"


async def test_run_time_adds_up_over_several_blocks() -> None:
    under_way = attempt(0.01)
    for _ in range(3):
        with under_way.timed():
            await asyncio.sleep(0.005)
    with under_way.timed():
        await assert_stopped(under_way)


async def test_run_time_does_not_count_outside_timed() -> None:
    under_way = attempt(0.01)
    with under_way.timed():
        pass
    async with under_way.interruptible():
        await asyncio.sleep(0.05)
    assert under_way.reason is None


async def test_a_timeout_raised_inside_the_block_does_not_stop_the_attempt() -> None:
    under_way = attempt()
    with pytest.raises(TimeoutError):
        async with under_way.interruptible():
            raise TimeoutError
    assert under_way.reason is None


async def test_shutdown_leaves_time_to_store_finished_images() -> None:
    without, with_images = attempt(), attempt()
    with_images.has_images = True
    for under_way in (without, with_images):
        under_way.stop_for_shutdown(grace_seconds=HOUR)
    assert isinstance(without.reason, GenerationStoppedError)
    assert with_images.reason is None
    with_images.stop_for_shutdown(grace_seconds=0)
    await assert_stopped(with_images)
