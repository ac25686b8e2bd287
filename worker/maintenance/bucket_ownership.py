"""The marker object, which identifies the installation that owns a bucket."""

from typing import Final
from uuid import UUID

import structlog

from common.domain.object_keys import MARKER_KEY
from common.object_store.storage import Storage

TEXT: Final = "text/plain"

log = structlog.get_logger(__name__)


class BucketOwnership:
    """Checks the bucket's marker object, so that only the bucket's owner deletes orphans.

    An orphan is an object that no row refers to. If two installations shared a bucket by mistake,
    each would delete the other's objects as orphans.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._warned = False

    async def is_ours(self, installation_id: UUID) -> bool:
        """Return whether the bucket's marker identifies this installation.

        If there is no marker, write it and return False: if two installations write at the same
        time, the next check shows which of them wrote last.

        Raises:
            StorageUnavailableError: the store failed or denied access.
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
