"""Whose the bucket is: it carries the name of its installation, and only that one's walk in it."""

from typing import Final
from uuid import UUID

import structlog

from common.domain.object_keys import MARKER_KEY
from common.object_store.storage import Storage

TEXT: Final = "text/plain"

log = structlog.get_logger(__name__)


class BucketOwnership:
    """Asked before objects are deleted because no row of ours names them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._warned = False

    async def is_ours(self, installation_id: UUID) -> bool:
        """Tell whether the bucket carries our name; one without a name gets it.

        Who has just written the name walks in the next round: two who write at once then see
        who was last.

        Raises:
            StorageUnavailableError: the store did not answer, or refused.
        """
        marker = await self._storage.find(MARKER_KEY)
        ours = str(installation_id)
        if marker is None:
            await self._storage.put(MARKER_KEY, ours.encode(), content_type=TEXT)
            return False
        theirs = marker.decode(errors="replace").strip()
        if theirs == ours:
            self._warned = False
            return True
        if not self._warned:
            self._warned = True
            log.error("bucket_of_another_installation", ours=ours, theirs=theirs, marker=MARKER_KEY)
        return False
