"""The walk through the bucket, for objects that nobody will ever ask for.

They come from attempts that failed or were superseded, and from requests whose job was never
recorded. No row knows them, so every object is looked at, a few pages at a time.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.object_keys import file_prefix_of, is_orphan
from common.object_store.storage import Page, Storage
from common.postgres.repositories.maintenance.retention import (
    find_job_objects,
    read_bucket_cursor,
    save_bucket_cursor,
)
from common.runtime.clock import utc_now
from worker.maintenance.bucket_ownership import BucketOwnership

# Pages of 1,000 objects in each round: at a round a minute 2 million objects take 17 hours, and
# the store is asked twice a minute.
PAGES: Final = 2


class OrphanCollector:
    """Goes on where the walk before it stopped, whichever process that was."""

    def __init__(
        self, storage: Storage, ownership: BucketOwnership, *, orphan_seconds: float
    ) -> None:
        self._storage = storage
        self._ownership = ownership
        self._age = timedelta(seconds=orphan_seconds)

    async def collect(self, connection: AsyncConnection) -> int:
        """Look at the next pages; give the number of orphans that were deleted.

        Raises:
            StorageUnavailableError: the store did not answer, or refused.
        """
        cursor = await read_bucket_cursor(connection)
        if not await self._ownership.is_ours(cursor.installation_id):
            return 0
        after, deleted = cursor.walked_to, 0
        for _ in range(PAGES):
            page = await self._storage.list_page(after)
            deleted += await self._delete_orphans(connection, page)
            after = page.next_after
            await save_bucket_cursor(connection, after)
            if after is None:
                break
        return deleted

    async def _delete_orphans(self, connection: AsyncConnection, page: Page) -> int:
        horizon = utc_now() - self._age
        old = {
            found.key: prefix
            for found in page.objects
            if found.modified_at <= horizon and (prefix := file_prefix_of(found.key)) is not None
        }
        if not old:
            return 0
        # Asked after the listing: a job that names one of these objects is in its answer.
        owners = await find_job_objects(connection, set(old.values()))
        orphans = [key for key, prefix in old.items() if is_orphan(key, owners.get(prefix))]
        await self._storage.delete(orphans)
        return len(orphans)
