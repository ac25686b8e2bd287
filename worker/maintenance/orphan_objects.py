"""Delete orphans: stored objects that no job refers to.

Orphans come from attempts that failed or were superseded, and from requests whose job was never
recorded. As no row refers to them, the whole bucket is listed, a few pages in each round.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.object_keys import is_orphan, parse_file_prefix
from common.object_store.storage import Page, Storage
from common.postgres.repositories.maintenance.retention import (
    find_job_objects,
    read_bucket_cursor,
    save_bucket_cursor,
)
from common.runtime.clock import utc_now
from worker.maintenance.bucket_ownership import BucketOwnership

# Pages of 1,000 objects in each round: with a round a minute, 2 million objects take 17 hours.
PAGES: Final = 2


class OrphanCollector:
    """Deletes orphans; lists the bucket page by page, from a cursor stored in Postgres."""

    def __init__(
        self, storage: Storage, ownership: BucketOwnership, *, orphan_seconds: float
    ) -> None:
        self._storage = storage
        self._ownership = ownership
        self._age = timedelta(seconds=orphan_seconds)

    async def collect(self, connection: AsyncConnection) -> int:
        """Delete the orphans in the next pages of the bucket; return how many were deleted.

        Raises:
            StorageUnavailableError: the store failed or denied access.
        """
        cursor = await read_bucket_cursor(connection)
        if not await self._ownership.is_ours(cursor.installation_id):
            return 0
        after, deleted = cursor.checked_to, 0
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
            if found.modified_at <= horizon and (prefix := parse_file_prefix(found.key)) is not None
        }
        if not old:
            return 0
        # Read after the listing, so that every job that names one of these objects is found.
        owners = await find_job_objects(connection, set(old.values()))
        orphans = [key for key, prefix in old.items() if is_orphan(key, owners.get(prefix))]
        await self._storage.delete(orphans)
        return len(orphans)
