"""What is old enough goes, in batches; what is needed stays."""

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
from tests.integration.repositories.support.counters import ATTEMPT, LONG_AGO, RESULT, Books

HOUR = 3600.0
UNFINISHED = sorted(set(JobState) - FINAL_STATES)
UNSENT = [DeliveryState.PENDING, DeliveryState.SENDING]
SENT = sorted(set(DeliveryState) - set(UNSENT))


def hours_ago(hours: float) -> datetime:
    return utc_now() - timedelta(hours=hours)


async def ended(books: Books, state: JobState = JobState.FAILED, /, **columns: Any) -> int:
    """Make a job that ended long ago."""
    return (await books.job_in(state, **{"finished_at": LONG_AGO, **columns})).job_id


async def told(books: Books, job_id: int, state: DeliveryState) -> DeliveryClaim:
    """Give a job a delivery in `state`."""
    claim = await books.delivery_in(state)
    await books.set_delivery(claim.delivery_id, job_id=job_id)
    return claim


async def log_attempts(books: Books, delivery_id: UUID, *begun: datetime) -> None:
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
    async with books.database.statement() as connection:
        await connection.execute(insert(DeliveryAttempt), values)


async def chosen(books: Books, *, limit: int = 10) -> list[int]:
    async with books.database.statement() as connection:
        found = await find_expired_images(connection, seconds=HOUR, limit=limit)
    return [job.job_id for job in found]


async def delete_jobs(books: Books, *, limit: int = 10) -> int:
    async with books.database.statement() as connection:
        return await delete_old_jobs(connection, seconds=HOUR, limit=limit)


async def ids(books: Books, table: type[Any] = Job) -> list[Any]:
    return [row["id"] for row in await books.rows(table)]


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
async def test_images_of_ended_jobs_are_chosen_the_oldest_first(
    books: Books, state: JobState
) -> None:
    later = await ended(books, state, finished_at=hours_ago(2))
    first = await ended(books, state)
    await ended(books, state, finished_at=hours_ago(0.5))
    await ended(books, state, objects_deleted_at=LONG_AGO)
    assert await chosen(books) == [first, later]
    assert await chosen(books, limit=1) == [first]


@pytest.mark.parametrize("state", UNFINISHED)
async def test_an_unfinished_job_keeps_its_images(books: Books, state: JobState) -> None:
    await books.job_in(state, created_at=LONG_AGO, available_at=LONG_AGO)
    assert await chosen(books) == []


async def test_every_object_a_job_may_have_left_is_named(books: Books) -> None:
    prefix = uuid4()
    key = input_key(books.tenant_id, prefix, "mask_image")
    mask = InputImage(object_key=key)
    url = InputImage(url="https://p.test/a.png")
    columns = {"state": JobState.FAILED, "attempt": ATTEMPT, "finished_at": LONG_AGO}
    job_id = await books.queued(
        file_prefix=prefix, inputs={"init_image": url, "mask_image": mask}, columns=columns
    )
    async with books.database.statement() as connection:
        (old,) = await find_expired_images(connection, seconds=HOUR, limit=5)
    drawn = {result_key(books.tenant_id, prefix, *which) for which in product((1, 2), (0, 1))}
    assert old.job_id == job_id
    assert old.object_keys == drawn | {key}


async def test_what_a_result_names_is_chosen_whatever_its_form(books: Books) -> None:
    await ended(books, JobState.SUCCEEDED)
    async with books.database.statement() as connection:
        (old,) = await find_expired_images(connection, seconds=HOUR, limit=5)
    assert old.object_keys > set(RESULT.object_keys)


async def test_marked_images_are_not_chosen_again(books: Books) -> None:
    jobs = [await ended(books) for _ in range(3)]
    async with books.database.statement() as connection:
        await mark_images_deleted(connection, jobs[:2])
    assert await chosen(books) == jobs[2:]
    marked = [row["objects_deleted_at"] is not None for row in await books.rows(Job)]
    assert marked == [True, True, False]


async def test_a_job_goes_with_all_that_hangs_on_it_but_not_its_usage(books: Books) -> None:
    await books.queued()
    job = await books.claim()
    async with books.database.statement() as connection:
        await succeed(connection, job.claim, RESULT)
    await books.set_job(job.id, finished_at=LONG_AGO, objects_deleted_at=LONG_AGO)
    (delivery_id,) = await ids(books, Delivery)
    await books.set_delivery(delivery_id, state=DeliveryState.DELIVERED)
    await log_attempts(books, delivery_id, utc_now())
    assert await delete_jobs(books) == 1
    assert [await ids(books, table) for table in (Job, Delivery, DeliveryAttempt)] == [[], [], []]
    (usage,) = await books.rows(UsageEntry)
    assert usage["job_id"] == job.id


async def test_a_job_stays_while_it_is_young_or_has_images(books: Books) -> None:
    gone: dict[str, Any] = {"objects_deleted_at": LONG_AGO}
    kept = [await ended(books), await ended(books, finished_at=hours_ago(0.5), **gone)]
    kept += [(await books.job_in(state, created_at=LONG_AGO)).job_id for state in UNFINISHED]
    old = await ended(books, **gone)
    assert await delete_jobs(books) == 1
    assert await ids(books) == kept
    assert old not in kept


@pytest.mark.parametrize("state", UNSENT)
async def test_a_job_stays_until_its_webhook_is_sent(books: Books, state: DeliveryState) -> None:
    waiting = await ended(books, objects_deleted_at=LONG_AGO)
    others = [await ended(books, objects_deleted_at=LONG_AGO) for _ in range(3)]
    claim = await told(books, waiting, state)
    assert await delete_jobs(books, limit=2) == 2, "one held back does not take another's place"
    assert await delete_jobs(books, limit=2) == 1
    assert not set(others) & set(await ids(books))
    await books.set_delivery(
        claim.delivery_id, state=DeliveryState.EXHAUSTED, lease_expires_at=None
    )
    assert await delete_jobs(books) == 1


async def test_jobs_go_in_batches_the_oldest_first(books: Books) -> None:
    dates = [datetime(2020, month, 1, tzinfo=UTC) for month in (5, 3, 4)]
    jobs = [await ended(books, finished_at=when, objects_deleted_at=when) for when in dates]
    assert await delete_jobs(books, limit=2) == 2
    assert await ids(books) == jobs[:1]
    assert [await delete_jobs(books, limit=2) for _ in range(2)] == [1, 0]


async def test_a_row_somebody_holds_is_left_for_later(books: Books) -> None:
    jobs = [await ended(books, objects_deleted_at=LONG_AGO) for _ in range(2)]
    async with books.database.transaction() as connection:
        await connection.exec_driver_sql("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", (jobs[0],))
        assert await delete_jobs(books) == 1
    assert await ids(books) == jobs[:1]


async def test_ended_deliveries_go_with_their_attempts_and_leave_the_job(books: Books) -> None:
    old = [await books.delivery_in(state, finished_at=LONG_AGO) for state in SENT]
    await books.delivery_in(DeliveryState.DELIVERED, finished_at=hours_ago(0.5))
    for state in UNSENT:
        await books.delivery_in(state, created_at=LONG_AGO, available_at=LONG_AGO)
    await log_attempts(books, old[0].delivery_id, utc_now())
    async with books.database.statement() as connection:
        deleted = [await delete_old_deliveries(connection, seconds=HOUR, limit=2) for _ in range(3)]
    assert deleted == [2, 1, 0]
    states = {row["state"] for row in await books.rows(Delivery)}
    assert states == {DeliveryState.DELIVERED, *UNSENT}
    assert await ids(books, DeliveryAttempt) == []
    assert len(await ids(books)) == 6


async def test_old_attempts_go_and_the_first_young_ones_end_the_search(books: Books) -> None:
    claim = await books.delivery_in(DeliveryState.PENDING)
    young = hours_ago(0.5)
    await log_attempts(books, claim.delivery_id, *[LONG_AGO] * 3, young, LONG_AGO, young)
    async with books.database.statement() as connection:
        deleted = [await delete_old_attempts(connection, seconds=HOUR, limit=2) for _ in range(4)]
    # Two; one beside a young one; then the old one between two young ones is out of sight no more.
    assert deleted == [2, 1, 1, 0]
    assert [row["started_at"] for row in await books.rows(DeliveryAttempt)] == [young, young]


async def test_owners_of_objects(books: Books) -> None:
    prefixes = [uuid4() for _ in range(4)]
    key = input_key(books.tenant_id, prefixes[0], "init_image")
    uploaded = {"init_image": InputImage(object_key=key), "mask_image": InputImage(url="u")}
    succeeded = {
        "state": JobState.SUCCEEDED,
        "finished_at": LONG_AGO,
        "result": JobResult(("a", "b"), (False, False), 1.0, {}, 1.0).to_json(),
    }
    await books.queued(file_prefix=prefixes[0], inputs=uploaded)
    await books.queued(file_prefix=prefixes[1], inputs=uploaded, columns=succeeded)
    deleted = {**succeeded, "objects_deleted_at": LONG_AGO}
    await books.queued(file_prefix=prefixes[2], inputs=uploaded, columns=deleted)
    async with books.database.statement() as connection:
        owners = await find_job_objects(connection, prefixes)
    assert owners == {
        prefixes[0]: JobObjects(ended=False, named=frozenset({key})),
        prefixes[1]: JobObjects(ended=True, named=frozenset({key, "a", "b"})),
        prefixes[2]: JobObjects(ended=True, named=frozenset()),
    }


async def test_the_place_is_remembered(books: Books) -> None:
    async with books.database.statement() as connection:
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
