"""Retention deletes what is old enough, in batches, and keeps what is needed."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from common.domain.delivery import DeliveryClaim, DeliveryState
from common.domain.job import FINAL_STATES, JobState
from common.domain.object_keys import JobObjects, input_key, result_key
from common.domain.record import InputImage, JobResult
from common.postgres.models import Delivery, DeliveryAttempt, Job, UsageEntry
from common.postgres.repositories.jobs.finish import succeed
from common.postgres.repositories.maintenance.retention import (
    delete_old_attempts,
    delete_old_deliveries,
    delete_old_jobs,
    find_expired_images,
    find_job_objects,
    mark_images_deleted,
    read_bucket_cursor,
    save_bucket_cursor,
)
from common.runtime.clock import utc_now
from tests.integration.repositories.support.tenant_rows import ATTEMPT, LONG_AGO, RESULT, TenantRows

HOUR = 3600.0
UNFINISHED = sorted(set(JobState) - FINAL_STATES)
UNSENT = [DeliveryState.PENDING, DeliveryState.SENDING]
SENT = sorted(set(DeliveryState) - set(UNSENT))


def hours_ago(hours: float) -> datetime:
    return utc_now() - timedelta(hours=hours)


async def add_ended_job(
    alice: TenantRows, state: JobState = JobState.FAILED, /, **columns: Any
) -> int:
    """Add a job that ended long ago; return its id."""
    return (await alice.add_job(state, **{"finished_at": LONG_AGO, **columns})).job_id


async def give_delivery(alice: TenantRows, job_id: int, state: DeliveryState) -> DeliveryClaim:
    """Add a delivery in `state` to a job; return its claim."""
    claim = await alice.add_delivery(state)
    await alice.set_delivery(claim.delivery_id, job_id=job_id)
    return claim


async def log_attempts(alice: TenantRows, delivery_id: UUID, *begun: datetime) -> None:
    values = [
        {
            "delivery_id": delivery_id,
            "attempt": number,
            "started_at": started_at,
            "duration_ms": 5,
            "answer": "",
        }
        for number, started_at in enumerate(begun)
    ]
    async with alice.database.statement() as connection:
        await connection.execute(insert(DeliveryAttempt), values)


async def find_expired(alice: TenantRows, *, limit: int = 10) -> list[int]:
    async with alice.database.statement() as connection:
        found = await find_expired_images(connection, seconds=HOUR, limit=limit)
    return [job.job_id for job in found]


async def delete_jobs(alice: TenantRows, *, limit: int = 10) -> int:
    async with alice.database.statement() as connection:
        return await delete_old_jobs(connection, seconds=HOUR, limit=limit)


async def ids(alice: TenantRows, table: type[Any] = Job) -> list[Any]:
    return [row["id"] for row in await alice.read_rows(table)]


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
async def test_expired_images_are_found_oldest_first(alice: TenantRows, state: JobState) -> None:
    later = await add_ended_job(alice, state, finished_at=hours_ago(2))
    first = await add_ended_job(alice, state)
    await add_ended_job(alice, state, finished_at=hours_ago(0.5))
    await add_ended_job(alice, state, objects_deleted_at=LONG_AGO)
    assert await find_expired(alice) == [first, later]
    assert await find_expired(alice, limit=1) == [first]


@pytest.mark.parametrize("state", UNFINISHED)
async def test_an_unfinished_job_keeps_its_images(alice: TenantRows, state: JobState) -> None:
    await alice.add_job(state, created_at=LONG_AGO, available_at=LONG_AGO)
    assert await find_expired(alice) == []


async def test_all_possible_objects_of_a_job_are_named(alice: TenantRows) -> None:
    prefix = uuid4()
    key = input_key(alice.tenant_id, prefix, "mask_image")
    mask = InputImage(object_key=key)
    url = InputImage(url="https://p.test/a.png")
    columns = {"state": JobState.FAILED, "attempt": ATTEMPT, "finished_at": LONG_AGO}
    job_id = await alice.queue_job(
        file_prefix=prefix, inputs={"init_image": url, "mask_image": mask}, columns=columns
    )
    async with alice.database.statement() as connection:
        (old,) = await find_expired_images(connection, seconds=HOUR, limit=5)
    results = {result_key(alice.tenant_id, prefix, *which) for which in product((1, 2), (0, 1))}
    assert old.job_id == job_id
    assert old.object_keys == results | {key}


async def test_object_keys_of_the_result_are_named(alice: TenantRows) -> None:
    await add_ended_job(alice, JobState.SUCCEEDED)
    async with alice.database.statement() as connection:
        (old,) = await find_expired_images(connection, seconds=HOUR, limit=5)
    assert old.object_keys > set(RESULT.object_keys)


async def test_images_marked_as_deleted_are_not_found(alice: TenantRows) -> None:
    jobs = [await add_ended_job(alice) for _ in range(3)]
    async with alice.database.statement() as connection:
        await mark_images_deleted(connection, jobs[:2])
    assert await find_expired(alice) == jobs[2:]
    marked = [row["objects_deleted_at"] is not None for row in await alice.read_rows(Job)]
    assert marked == [True, True, False]


async def test_a_job_is_deleted_with_its_deliveries_but_not_its_usage(alice: TenantRows) -> None:
    await alice.queue_job()
    job = await alice.claim_job()
    async with alice.database.statement() as connection:
        await succeed(connection, job.claim, RESULT)
    await alice.set_job(job.id, finished_at=LONG_AGO, objects_deleted_at=LONG_AGO)
    (delivery_id,) = await ids(alice, Delivery)
    await alice.set_delivery(delivery_id, state=DeliveryState.DELIVERED)
    await log_attempts(alice, delivery_id, utc_now())
    assert await delete_jobs(alice) == 1
    assert [await ids(alice, table) for table in (Job, Delivery, DeliveryAttempt)] == [[], [], []]
    (usage,) = await alice.read_rows(UsageEntry)
    assert usage["job_id"] == job.id


async def test_a_young_job_or_one_with_images_is_kept(alice: TenantRows) -> None:
    gone: dict[str, Any] = {"objects_deleted_at": LONG_AGO}
    kept = [
        await add_ended_job(alice),
        await add_ended_job(alice, finished_at=hours_ago(0.5), **gone),
    ]
    kept += [(await alice.add_job(state, created_at=LONG_AGO)).job_id for state in UNFINISHED]
    old = await add_ended_job(alice, **gone)
    assert await delete_jobs(alice) == 1
    assert await ids(alice) == kept
    assert old not in kept


@pytest.mark.parametrize("state", UNSENT)
async def test_a_job_is_kept_until_its_webhook_is_sent(
    alice: TenantRows, state: DeliveryState
) -> None:
    waiting = await add_ended_job(alice, objects_deleted_at=LONG_AGO)
    others = [await add_ended_job(alice, objects_deleted_at=LONG_AGO) for _ in range(3)]
    claim = await give_delivery(alice, waiting, state)
    assert await delete_jobs(alice, limit=2) == 2, (
        "a job that is kept does not count against the limit"
    )
    assert await delete_jobs(alice, limit=2) == 1
    assert not set(others) & set(await ids(alice))
    await alice.set_delivery(
        claim.delivery_id, state=DeliveryState.EXHAUSTED, lease_expires_at=None
    )
    assert await delete_jobs(alice) == 1


async def test_jobs_are_deleted_in_batches_oldest_first(alice: TenantRows) -> None:
    dates = [datetime(2020, month, 1, tzinfo=UTC) for month in (5, 3, 4)]
    jobs = [await add_ended_job(alice, finished_at=when, objects_deleted_at=when) for when in dates]
    assert await delete_jobs(alice, limit=2) == 2
    assert await ids(alice) == jobs[:1]
    assert [await delete_jobs(alice, limit=2) for _ in range(2)] == [1, 0]


async def test_a_locked_job_is_skipped(alice: TenantRows) -> None:
    jobs = [await add_ended_job(alice, objects_deleted_at=LONG_AGO) for _ in range(2)]
    async with alice.database.transaction() as connection:
        await connection.exec_driver_sql("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", (jobs[0],))
        assert await delete_jobs(alice) == 1
    assert await ids(alice) == jobs[:1]


async def test_ended_deliveries_are_deleted_with_their_attempts(alice: TenantRows) -> None:
    old = [await alice.add_delivery(state, finished_at=LONG_AGO) for state in SENT]
    await alice.add_delivery(DeliveryState.DELIVERED, finished_at=hours_ago(0.5))
    for state in UNSENT:
        await alice.add_delivery(state, created_at=LONG_AGO, available_at=LONG_AGO)
    await log_attempts(alice, old[0].delivery_id, utc_now())
    async with alice.database.statement() as connection:
        deleted = [await delete_old_deliveries(connection, seconds=HOUR, limit=2) for _ in range(3)]
    assert deleted == [2, 1, 0]
    states = {row["state"] for row in await alice.read_rows(Delivery)}
    assert states == {DeliveryState.DELIVERED, *UNSENT}
    assert await ids(alice, DeliveryAttempt) == []
    assert len(await ids(alice)) == 6


async def test_old_attempts_are_deleted_by_lowest_id(alice: TenantRows) -> None:
    claim = await alice.add_delivery(DeliveryState.PENDING)
    young = hours_ago(0.5)
    await log_attempts(alice, claim.delivery_id, *[LONG_AGO] * 3, young, LONG_AGO, young)
    async with alice.database.statement() as connection:
        deleted = [await delete_old_attempts(connection, seconds=HOUR, limit=2) for _ in range(4)]
    # Two old ones; an old and a young one; then a young one and the old one behind it.
    assert deleted == [2, 1, 1, 0]
    assert [row["started_at"] for row in await alice.read_rows(DeliveryAttempt)] == [young, young]


async def test_the_objects_of_jobs_are_found_by_prefix(alice: TenantRows) -> None:
    prefixes = [uuid4() for _ in range(4)]
    key = input_key(alice.tenant_id, prefixes[0], "init_image")
    uploaded = {"init_image": InputImage(object_key=key), "mask_image": InputImage(url="u")}
    succeeded = {
        "state": JobState.SUCCEEDED,
        "finished_at": LONG_AGO,
        "result": JobResult(("a", "b"), (False, False), 1.0, {}, 1.0).to_json(),
    }
    await alice.queue_job(file_prefix=prefixes[0], inputs=uploaded)
    await alice.queue_job(file_prefix=prefixes[1], inputs=uploaded, columns=succeeded)
    deleted = {**succeeded, "objects_deleted_at": LONG_AGO}
    await alice.queue_job(file_prefix=prefixes[2], inputs=uploaded, columns=deleted)
    async with alice.database.statement() as connection:
        owners = await find_job_objects(connection, prefixes)
    assert owners == {
        prefixes[0]: JobObjects(ended=False, named=frozenset({key})),
        prefixes[1]: JobObjects(ended=True, named=frozenset({key, "a", "b"})),
        prefixes[2]: JobObjects(ended=True, named=frozenset()),
    }


async def test_the_progress_of_the_orphan_search_is_saved(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        first = await read_bucket_cursor(connection)
        assert first.checked_to is None
        await save_bucket_cursor(connection, "4/generations/x")
        second = await read_bucket_cursor(connection)
        assert (second.installation_id, second.checked_to) == (
            first.installation_id,
            "4/generations/x",
        )
        await save_bucket_cursor(connection, None)
        assert (await read_bucket_cursor(connection)).checked_to is None
