"""Erasure: deletes tenants that are being deleted, and all that is theirs, once they are drained.

Disabled they are already. Their waiting jobs are canceled, those at work are waited for, then the
objects go, the rows, and last the tenant's own. Every round begins with the first step, so a
round that was broken off, or a job that came late, is made up for by the next.
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

# By then every gateway has forgotten a disabled tenant's keys (`INFILL_AUTH_CACHE_SECONDS`), and
# recorded what it had let in.
CACHE_EXPIRY_SECONDS: Final = 30.0
ROWS: Final = 200  # that one statement moves, with all that hangs on them: tens of milliseconds
# Of each kind in a round, so that a large tenant keeps nobody else's retention waiting.
BATCHES: Final = 50
PAGES: Final = 10  # of 1,000 objects each: some ten seconds of a store's time

log = structlog.get_logger(__name__)


class TenantErasure:
    """Goes on with every tenant that is being deleted, one round at a time."""

    def __init__(self, storage: Storage, ownership: BucketOwnership, store: Availability) -> None:
        self._storage = storage
        self._ownership = ownership
        self._store = store

    async def run_round(self, connection: AsyncConnection, stopping: asyncio.Event) -> None:
        """Do what can be done now; stops between two batches when told to.

        Raises:
            StorageUnavailableError: the store did not answer, or refused; waiting jobs are
                canceled without it.
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
        """Tell whether what stands under our tenants' numbers is theirs, and not others'."""
        cursor = await read_bucket_cursor(connection)
        ours = await self._ownership.is_ours(cursor.installation_id)
        self._store.mark_available()
        return ours

    async def _delete_objects(self, tenant_id: int, stopping: asyncio.Event) -> bool:
        """Delete what is in the bucket under the tenant's prefix; False if there may be more.

        Also what no row names: failed attempts and requests left it.
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
    """Wait for those at work: they end as any other, or by their run time, or by their lease."""
    drained = await is_drained(connection, tenant_id)
    if not drained:
        log.info("tenant_is_draining", tenant_id=tenant_id)
    return drained


async def _delete_rows(
    connection: AsyncConnection, tenant_id: int, stopping: asyncio.Event
) -> None:
    for verb in (delete_ended_jobs, delete_usage):
        step = partial(verb, connection, tenant_id, limit=ROWS)
        if not await _run_to_end(step, stopping):
            return
    if await delete_drained_tenant(connection, tenant_id):
        log.info("tenant_erased", tenant_id=tenant_id)


async def _run_to_end(step: Step, stopping: asyncio.Event) -> bool:
    """Run batches of `ROWS`; False if there may be more to move."""
    result = await run_batches(step, size=ROWS, max_batches=BATCHES, stopping=stopping)
    return result.finished
