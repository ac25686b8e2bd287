"""Keys of objects in the store: how they are built, parsed, and recognized as orphans."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

# The only object that is not an image: it holds the id of the installation that owns the bucket.
# No tenant's prefix begins with a dot, so the key cannot collide with one of theirs.
MARKER_KEY: Final = ".infill/installation"

_NUMBER: Final = "[1-9][0-9]*"
_PREFIX: Final = "(?P<file_prefix>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_RESULT: Final = f"{_NUMBER}/generations/{_PREFIX}-{_NUMBER}-(?:0|{_NUMBER})[.]png"
_INPUT: Final = f"{_NUMBER}/inputs/{_PREFIX}-[a-z_]+"
_OURS: Final = (re.compile(_RESULT), re.compile(_INPUT))


def tenant_prefix(tenant_id: int) -> str:
    """Return the prefix shared by the keys of all objects of a tenant, and of no other tenant."""
    return f"{tenant_id}/"


def result_key(tenant_id: int, file_prefix: UUID, attempt: int, index: int) -> str:
    """Return the key of image `index` of one attempt.

    The attempt is part of the key: two attempts of a job never write the same object, so a worker
    whose lease expired cannot overwrite the images of its successor.
    """
    return f"{tenant_prefix(tenant_id)}generations/{file_prefix}-{attempt}-{index}.png"


def input_key(tenant_id: int, file_prefix: UUID, field: str) -> str:
    """Return the key of an image sent in the request itself; `field` is e.g. `init_image`."""
    return f"{tenant_prefix(tenant_id)}inputs/{file_prefix}-{field}"


def parse_file_prefix(key: str) -> UUID | None:
    """Return the job's file prefix from an object key; None unless we could have built the key."""
    for form in _OURS:
        if match := form.fullmatch(key):
            return UUID(match["file_prefix"])
    return None


@dataclass(frozen=True, slots=True)
class JobObjects:
    """What a job's row says about the objects of its file prefix.

    `named` are the keys in its result and its inputs, empty once these were deleted.
    """

    ended: bool
    named: frozenset[str]


def is_orphan(key: str, job: JobObjects | None) -> bool:
    """Return whether an object can be deleted because no job refers to it.

    `job` is None if no row has the object's file prefix. Objects of an unfinished job are not
    orphans: its attempt may be about to record them.
    """
    return job is None or (job.ended and key not in job.named)


def list_possible_result_keys(
    tenant_id: int, file_prefix: UUID, *, attempts: int, samples: int
) -> frozenset[str]:
    """Return the keys of all images that any attempt of a job may have uploaded."""
    return frozenset(
        result_key(tenant_id, file_prefix, attempt, index)
        for attempt in range(1, attempts + 1)
        for index in range(samples)
    )
