"""Retention: delete images and rows past their retention time, in batches of a few milliseconds."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Delete,
    Double,
    Select,
    Uuid,
    any_,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.delivery import DeliveryState
from common.domain.generation import ImageFormat
from common.domain.job import FINAL_STATES, JobState
from common.domain.object_keys import JobObjects, list_possible_result_keys
from common.domain.record import InputImage
from common.postgres.expressions import from_now, is_one_of, literal_int
from common.postgres.models import Delivery, DeliveryAttempt, Installation, Job


@dataclass(frozen=True, slots=True)
class ExpiredImages:
    """A job whose images are past their retention time, and the keys of all objects it may have."""

    job_id: int
    object_keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class BucketCursor:
    """Progress of the search for orphan objects in the bucket of this installation.

    `checked_to` is the last object key checked, or None at the beginning.
    """

    installation_id: UUID
    checked_to: str | None


async def find_expired_images(
    connection: AsyncConnection, *, seconds: float, limit: int
) -> list[ExpiredImages]:
    """Return jobs that ended at least `seconds` ago and still have images, oldest first."""
    rows = (
        await connection.execute(_find_expired_images_statement(limit), {"ago": -seconds})
    ).all()
    return [_to_expired_images(*row) for row in rows]


async def mark_images_deleted(connection: AsyncConnection, job_ids: Collection[int]) -> None:
    """Record that the images of these jobs have been deleted."""
    await connection.execute(_MARK_IMAGES_DELETED, {"job_ids": list(job_ids)})


async def delete_old_jobs(connection: AsyncConnection, *, seconds: float, limit: int) -> int:
    """Delete up to `limit` jobs that ended at least `seconds` ago; return how many.

    Their deliveries are deleted with them. A job is kept until its images have been deleted,
    because only its row has their keys, and while its webhook is pending or being sent.
    """
    return (await connection.execute(_delete_jobs_statement(limit), {"ago": -seconds})).rowcount


async def delete_old_deliveries(connection: AsyncConnection, *, seconds: float, limit: int) -> int:
    """Delete up to `limit` deliveries that ended at least `seconds` ago; return how many."""
    return (
        await connection.execute(_delete_deliveries_statement(limit), {"ago": -seconds})
    ).rowcount


async def delete_old_attempts(connection: AsyncConnection, *, seconds: float, limit: int) -> int:
    """Delete logged delivery attempts that are at least `seconds` old; return how many.

    Only the rows with the `limit` lowest ids are examined, because these are the oldest rows.
    """
    return (await connection.execute(_delete_attempts_statement(limit), {"ago": -seconds})).rowcount


async def find_job_objects(
    connection: AsyncConnection, prefixes: Collection[UUID]
) -> dict[UUID, JobObjects]:
    """Return the objects of the jobs with these file prefixes; unknown prefixes are omitted."""
    rows = (await connection.execute(_FIND_JOB_OBJECTS, {"prefixes": list(prefixes)})).all()
    return {row[0]: _to_job_objects(*row[1:]) for row in rows}


async def read_bucket_cursor(connection: AsyncConnection) -> BucketCursor:
    """Return how far the search for orphan objects in the bucket has come."""
    row = (await connection.execute(_READ_CURSOR)).one()
    return BucketCursor(row[0], row[1])


async def save_bucket_cursor(connection: AsyncConnection, checked_to: str | None) -> None:
    """Save the last object key checked in the search for orphans; None restarts the search."""
    await connection.execute(_SAVE_CURSOR, {"checked_to_key": checked_to})


def _to_expired_images(
    job_id: int,
    tenant_id: int,
    file_prefix: UUID,
    attempt: int,
    image_format: str | None,
    samples: int,
    *key_columns: Any,
) -> ExpiredImages:
    results = list_possible_result_keys(
        tenant_id,
        file_prefix,
        attempts=attempt,
        samples=samples,
        image_format=ImageFormat(image_format or ImageFormat.PNG),
    )
    return ExpiredImages(job_id, results | _list_named_keys(*key_columns))


def _to_job_objects(state: JobState, deleted_at: datetime | None, *key_columns: Any) -> JobObjects:
    # A row still names its deleted images; an object uploaded after their deletion is an orphan.
    named = _list_named_keys(*key_columns) if deleted_at is None else frozenset[str]()
    return JobObjects(ended=state in FINAL_STATES, named=named)


def _list_named_keys(
    results: list[str] | None, inputs: dict[str, dict[str, str]]
) -> frozenset[str]:
    images = (InputImage(**stored) for stored in inputs.values())
    uploaded = {image.object_key for image in images if image.object_key is not None}
    return frozenset(uploaded.union(results or ()))


# Statements are composed once, because composing them takes longer than running them.

_AGO: Final = from_now(bindparam("ago", type_=Double()))
_UNSENT: Final = (DeliveryState.PENDING, DeliveryState.SENDING)
_KEY_COLUMNS: Final = (Job.result["object_keys"], Job.inputs)

_MARK_IMAGES_DELETED: Final = (
    update(Job)
    .where(Job.id == any_(bindparam("job_ids", type_=ARRAY(BigInteger))))
    .values(objects_deleted_at=func.now())
)
_FIND_JOB_OBJECTS: Final = select(
    Job.file_prefix, Job.state, Job.objects_deleted_at, *_KEY_COLUMNS
).where(Job.file_prefix == any_(bindparam("prefixes", type_=ARRAY(Uuid))))
_READ_CURSOR: Final = select(Installation.id, Installation.checked_to)
_SAVE_CURSOR: Final = update(Installation).values(checked_to=bindparam("checked_to_key"))


@cache
def _find_expired_images_statement(limit: int) -> Select[Any]:
    samples = Job.request["samples"].as_integer()
    image_format = Job.request["output_format"].as_string()
    return (
        select(
            *(Job.id, Job.tenant_id, Job.file_prefix, Job.attempt),
            *(image_format, samples),
            *_KEY_COLUMNS,
        )
        .where(Job.finished_at <= _AGO, Job.objects_deleted_at.is_(None))
        .order_by(Job.finished_at)
        .limit(literal_int(limit))
    )


@cache
def _delete_jobs_statement(limit: int) -> Delete:
    unsent = exists().where(Delivery.job_id == Job.id, is_one_of(Delivery.state, _UNSENT))
    old = (
        select(Job.id)
        .where(Job.finished_at <= _AGO, Job.objects_deleted_at.is_not(None), ~unsent)
        .order_by(Job.finished_at)
        .limit(literal_int(limit))
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    return delete(Job).where(Job.id == old.c.id)


@cache
def _delete_deliveries_statement(limit: int) -> Delete:
    old = (
        select(Delivery.id)
        .where(Delivery.finished_at <= _AGO)
        .order_by(Delivery.finished_at)
        .limit(literal_int(limit))
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    return delete(Delivery).where(Delivery.id == old.c.id)


@cache
def _delete_attempts_statement(limit: int) -> Delete:
    oldest = (
        select(DeliveryAttempt.id, DeliveryAttempt.started_at)
        .order_by(DeliveryAttempt.id)
        .limit(literal_int(limit))
        .cte("oldest")
    )
    return delete(DeliveryAttempt).where(
        DeliveryAttempt.id == oldest.c.id, oldest.c.started_at <= _AGO
    )
