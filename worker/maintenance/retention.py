"""Retention: deletes images and rows that are older than the settings allow.

It has its own loop and leader lock, so that a slow object store does not delay other maintenance.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.errors import StorageUnavailableError
from common.object_store.storage import Storage
from common.postgres.database import Database
from common.postgres.locks import Lock
from common.postgres.repositories.maintenance.retention import (
    delete_old_attempts,
    delete_old_deliveries,
    delete_old_jobs,
    find_expired_images,
    mark_images_deleted,
)
from common.runtime.availability import Availability
from common.runtime.metrics import RETENTION_DELETED
from common.settings import RetentionSettings
from worker.maintenance.batches import Step, run_batches
from worker.maintenance.bucket_ownership import BucketOwnership
from worker.maintenance.leader import LeaderLoop
from worker.maintenance.orphan_objects import OrphanCollector
from worker.maintenance.tenant_erasure import TenantErasure

ROWS: Final = 200  # in one statement, with their dependent rows: tens of milliseconds
JOBS: Final = 50  # whose images are deleted together: some hundred requests to the store
# Of each kind in a round, so that a backlog of one kind delays no other.
BATCHES: Final = 50

log = structlog.get_logger(__name__)


class Retention(LeaderLoop):
    """Leader-elected loop that deletes old images and rows, erases tenants and deletes orphans."""

    def __init__(self, database: Database, storage: Storage, settings: RetentionSettings) -> None:
        super().__init__(
            database, Lock.RETENTION, name="retention", interval_seconds=settings.interval_seconds
        )
        self._storage = storage
        self._settings = settings
        self._store = Availability("the image store, for retention")
        ownership = BucketOwnership(storage)
        self._erasure = TenantErasure(storage, ownership, self._store)
        self._orphans = OrphanCollector(storage, ownership, orphan_seconds=settings.orphan_seconds)

    async def run_round(self, connection: AsyncConnection, stopping: asyncio.Event) -> None:
        """Delete old images and rows, erase deleted tenants and delete orphans.

        Stops between two batches if `stopping` is set. Images are deleted before their jobs' rows,
        because only the rows contain the object keys. While the object store is unavailable,
        rows that do not depend on it are still deleted: deliveries, attempts, and jobs whose images
        have already been deleted.
        """
        kept = self._settings
        await self._with_store(self._delete_images, connection, stopping)
        for kind, seconds, verb in (
            ("job", kept.job_seconds, delete_old_jobs),
            ("delivery", kept.delivery_seconds, delete_old_deliveries),
            ("attempt", kept.attempt_seconds, delete_old_attempts),
        ):
            if seconds:
                step = partial(verb, connection, seconds=seconds, limit=ROWS)
                await _delete_batches(kind, step, ROWS, stopping)
        await self._with_store(self._erasure.run_round, connection, stopping)
        await self._with_store(self._delete_orphans, connection, stopping)

    async def _with_store(
        self,
        task: Callable[[AsyncConnection, asyncio.Event], Awaitable[None]],
        connection: AsyncConnection,
        stopping: asyncio.Event,
    ) -> None:
        try:
            await task(connection, stopping)
        except StorageUnavailableError as error:
            self._store.mark_unavailable(error)

    async def _delete_images(self, connection: AsyncConnection, stopping: asyncio.Event) -> None:
        if self._settings.object_seconds:
            step = partial(self._delete_expired_images, connection)
            await _delete_batches("images", step, JOBS, stopping)

    async def _delete_expired_images(self, connection: AsyncConnection) -> int:
        old = await find_expired_images(
            connection, seconds=self._settings.object_seconds, limit=JOBS
        )
        if old:
            await self._storage.delete([key for job in old for key in job.object_keys])
            self._store.mark_available()
            await mark_images_deleted(connection, [job.job_id for job in old])
        return len(old)

    async def _delete_orphans(self, connection: AsyncConnection, stopping: asyncio.Event) -> None:
        if self._settings.orphan_seconds and not stopping.is_set():
            _record_deleted("orphan", await self._orphans.collect(connection))
            self._store.mark_available()


async def _delete_batches(kind: str, step: Step, size: int, stopping: asyncio.Event) -> None:
    deleted = 0

    async def counted_step() -> int:
        nonlocal deleted
        batch = await step()
        deleted += batch
        return batch

    try:
        await run_batches(counted_step, size=size, max_batches=BATCHES, stopping=stopping)
    finally:  # what was deleted before an error counts too
        _record_deleted(kind, deleted)


def _record_deleted(kind: str, deleted: int) -> None:
    if deleted:
        RETENTION_DELETED.labels(kind=kind).inc(deleted)
        log.info("retention_deleted", kind=kind, number=deleted)
