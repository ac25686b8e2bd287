"""Erase tenants: cancel their jobs, wait for running ones, delete objects and rows.

A tenant to be erased is already disabled. Its waiting jobs are canceled, and its running jobs
finish. Then its objects are deleted, then its rows, and finally the tenant itself. Every round
repeats all steps from the first, so that it completes interrupted rounds and includes jobs that
were recorded late.
"""

import asyncio
from functools import partial
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import JobState
from common.domain.object_keys import tenant_prefix
from common.object_store.storage import Storage
from common.postgres.repositories.maintenance.retention import read_bucket_cursor
from common.postgres.repositories.maintenance.tenant_erasure import (
    cancel_queued,
    delete_drained_tenant,
    delete_ended_jobs,
    delete_usage,
    find_tenants_to_erase,
    is_drained,
)
from common.runtime.availability import Availability
from common.runtime.metrics import JOBS_ENDED
from worker.maintenance.batches import Step, run_batches
from worker.maintenance.bucket_ownership import BucketOwnership

# After this time no gateway has a disabled tenant's keys cached any more
# (`INFILL_AUTH_CACHE_SECONDS`), and every accepted request is recorded.
CACHE_EXPIRY_SECONDS: Final = 30.0
ROWS: Final = 200  # in one statement, with their dependent rows: tens of milliseconds
# Of each kind in a round, so that a large tenant does not delay the others' retention.
BATCHES: Final = 50
PAGES: Final = 10  # of 1,000 objects each: some ten seconds of a store's time

log = structlog.get_logger(__name__)


class TenantErasure:
    """Erases the tenants that are being deleted; each round does a limited amount of work."""

    def __init__(self, storage: Storage, ownership: BucketOwnership, store: Availability) -> None:
        self._storage = storage
        self._ownership = ownership
        self._store = store

    async def run_round(self, connection: AsyncConnection, stopping: asyncio.Event) -> None:
        """Do one round of work on every tenant that is being deleted.

        Stops between two batches if `stopping` is set.

        Raises:
            StorageUnavailableError: the store failed or denied access; the waiting jobs have been
                canceled nevertheless.
        """
        tenant_ids = await find_tenants_to_erase(connection, seconds=CACHE_EXPIRY_SECONDS)
        drained = [
            tenant_id
            for tenant_id in tenant_ids
            if await _cancel_queued(connection, tenant_id, stopping)
            and await _is_drained(connection, tenant_id)
        ]
        if not drained or not await self._is_bucket_ours(connection):
            return
        for tenant_id in drained:
            if await self._delete_objects(tenant_id, stopping):
                await _delete_rows(connection, tenant_id, stopping)

    async def _is_bucket_ours(self, connection: AsyncConnection) -> bool:
        """Return whether the bucket belongs to this installation, so its objects may be deleted."""
        cursor = await read_bucket_cursor(connection)
        ours = await self._ownership.is_ours(cursor.installation_id)
        self._store.mark_available()
        return ours

    async def _delete_objects(self, tenant_id: int, stopping: asyncio.Event) -> bool:
        """Delete the objects under the tenant's prefix; return False if there may be more.

        These include orphans, which no row refers to.
        """
        for _ in range(PAGES):
            if stopping.is_set():
                return False
            page = await self._storage.list_page(None, prefix=tenant_prefix(tenant_id))
            if not page.objects:
                return True
            await self._storage.delete([found.key for found in page.objects])
        return False


async def _cancel_queued(
    connection: AsyncConnection, tenant_id: int, stopping: asyncio.Event
) -> bool:
    async def step() -> int:
        canceled = await cancel_queued(connection, tenant_id, limit=ROWS)
        JOBS_ENDED.labels(outcome=JobState.CANCELED.value).inc(canceled)
        return canceled

    return await _run_to_end(step, stopping)


async def _is_drained(connection: AsyncConnection, tenant_id: int) -> bool:
    """Return whether all running jobs of the tenant have ended; they end by themselves."""
    drained = await is_drained(connection, tenant_id)
    if not drained:
        log.info("tenant_is_draining", tenant_id=tenant_id)
    return drained


async def _delete_rows(
    connection: AsyncConnection, tenant_id: int, stopping: asyncio.Event
) -> None:
    for delete in (delete_ended_jobs, delete_usage):
        step = partial(delete, connection, tenant_id, limit=ROWS)
        if not await _run_to_end(step, stopping):
            return
    if await delete_drained_tenant(connection, tenant_id):
        log.info("tenant_erased", tenant_id=tenant_id)


async def _run_to_end(step: Step, stopping: asyncio.Event) -> bool:
    """Call `step` on up to `BATCHES` batches of `ROWS` rows; return False if rows may be left.

    Stops early if `stopping` is set.
    """
    result = await run_batches(step, size=ROWS, max_batches=BATCHES, stopping=stopping)
    return result.finished
