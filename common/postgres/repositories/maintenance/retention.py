"""Retention: delete what has been kept long enough, in batches that take milliseconds."""

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
from common.domain.job import FINAL_STATES, JobState
from common.domain.object_keys import JobObjects, list_possible_result_keys
from common.domain.record import InputImage
from common.postgres.expressions import from_now, is_one_of, literal_int
from common.postgres.models import Delivery, DeliveryAttempt, Installation, Job


@dataclass(frozen=True, slots=True)
class ExpiredImages:
    """A job whose images have been kept long enough, with the keys of all objects it may have."""

    job_id: int
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class BucketCursor:
    """This installation, and how far its search of the bucket for orphans has come."""

    installation_id: UUID
    walked_to: str | None


async def find_expired_images(
    connection: AsyncConnection, *, seconds: float, limit: int
) -> list[ExpiredImages]:
    """Return jobs that ended at least `seconds` ago and still have images, oldest first."""
    rows = (await connection.execute(_choosing_pictures(limit), {"ago": -seconds})).all()
    return [_old_pictures(*row) for row in rows]


async def mark_images_deleted(connection: AsyncConnection, job_ids: Collection[int]) -> None:
    """Record that the objects of these jobs have been deleted."""
    await connection.execute(_MARK, {"job_ids": list(job_ids)})


async def delete_old_jobs(connection: AsyncConnection, *, seconds: float, limit: int) -> int:
    """Delete jobs that ended at least `seconds` ago, with their deliveries; return their number.

    A job stays while it has images, as only its row names them, and while its webhook is still to
    be sent.
    """
    return (await connection.execute(_deleting_jobs(limit), {"ago": -seconds})).rowcount


async def delete_old_deliveries(connection: AsyncConnection, *, seconds: float, limit: int) -> int:
    """Delete deliveries that ended at least `seconds` ago; return their number."""
    return (await connection.execute(_deleting_deliveries(limit), {"ago": -seconds})).rowcount


async def delete_old_attempts(connection: AsyncConnection, *, seconds: float, limit: int) -> int:
    """Delete logged attempts that are at least `seconds` old; return their number.

    Ids rise with time, so only the `limit` lowest are read: if one of these is too young, so are
    all that follow.
    """
    return (await connection.execute(_deleting_attempts(limit), {"ago": -seconds})).rowcount


async def find_job_objects(
    connection: AsyncConnection, prefixes: Collection[UUID]
) -> dict[UUID, JobObjects]:
    """Return the objects of the jobs with these prefixes; a prefix without a job is left out."""
    rows = (await connection.execute(_OWNERS, {"prefixes": list(prefixes)})).all()
    return {row[0]: _job_objects(*row[1:]) for row in rows}


async def read_bucket_cursor(connection: AsyncConnection) -> BucketCursor:
    """Return the id of this installation and the object key to continue from."""
    row = (await connection.execute(_PLACE)).one()
    return BucketCursor(row[0], row[1])


async def save_bucket_cursor(connection: AsyncConnection, walked_to: str | None) -> None:
    """Record the object key to continue from; None is the beginning of the bucket."""
    await connection.execute(_NOTE_PLACE, {"walked_to_key": walked_to})


def _old_pictures(
    job_id: int, tenant_id: int, file_prefix: UUID, attempt: int, samples: int, *naming: Any
) -> ExpiredImages:
    left = list_possible_result_keys(tenant_id, file_prefix, attempts=attempt, samples=samples)
    return ExpiredImages(job_id, left | _named(*naming))


def _job_objects(state: JobState, deleted_at: datetime | None, *naming: Any) -> JobObjects:
    # The row still names deleted images. An object uploaded after the deletion is an orphan.
    named = _named(*naming) if deleted_at is None else frozenset[str]()
    return JobObjects(ended=state in FINAL_STATES, named=named)


def _named(results: list[str] | None, inputs: dict[str, dict[str, str]]) -> frozenset[str]:
    images = (InputImage(**stored) for stored in inputs.values())
    uploaded = {image.object_key for image in images if image.object_key is not None}
    return frozenset(uploaded.union(results or ()))


# The statements, put together once: that takes longer than running them.

_AGO: Final = from_now(bindparam("ago", type_=Double()))
_UNSENT: Final = (DeliveryState.PENDING, DeliveryState.SENDING)
_NAMING: Final = (Job.result["object_keys"], Job.inputs)

_MARK: Final = (
    update(Job)
    .where(Job.id == any_(bindparam("job_ids", type_=ARRAY(BigInteger))))
    .values(objects_deleted_at=func.now())
)
_OWNERS: Final = select(Job.file_prefix, Job.state, Job.objects_deleted_at, *_NAMING).where(
    Job.file_prefix == any_(bindparam("prefixes", type_=ARRAY(Uuid)))
)
_PLACE: Final = select(Installation.id, Installation.walked_to)
_NOTE_PLACE: Final = update(Installation).values(walked_to=bindparam("walked_to_key"))


@cache
def _choosing_pictures(limit: int) -> Select[Any]:
    samples = Job.request["samples"].as_integer()
    return (
        select(Job.id, Job.tenant_id, Job.file_prefix, Job.attempt, samples, *_NAMING)
        .where(Job.finished_at <= _AGO, Job.objects_deleted_at.is_(None))
        .order_by(Job.finished_at)
        .limit(literal_int(limit))
    )


@cache
def _deleting_jobs(limit: int) -> Delete:
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
def _deleting_deliveries(limit: int) -> Delete:
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
def _deleting_attempts(limit: int) -> Delete:
    oldest = (
        select(DeliveryAttempt.id, DeliveryAttempt.started_at)
        .order_by(DeliveryAttempt.id)
        .limit(literal_int(limit))
        .cte("oldest")
    )
    return delete(DeliveryAttempt).where(
        DeliveryAttempt.id == oldest.c.id, oldest.c.started_at <= _AGO
    )
