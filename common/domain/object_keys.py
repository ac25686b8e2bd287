"""How objects are named in the store, and whose they are."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

# The one object that is no picture: it holds the name of the installation the bucket belongs to.
# A dot begins no tenant's number, so it is never taken for one of theirs.
MARKER_KEY: Final = ".infill/installation"

_NUMBER: Final = "[1-9][0-9]*"
_PREFIX: Final = "(?P<file_prefix>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_RESULT: Final = f"{_NUMBER}/generations/{_PREFIX}-{_NUMBER}-(?:0|{_NUMBER})[.]png"
_INPUT: Final = f"{_NUMBER}/inputs/{_PREFIX}-[a-z_]+"
_OURS: Final = (re.compile(_RESULT), re.compile(_INPUT))


def tenant_prefix(tenant_id: int) -> str:
    """Give what the names of all objects of a tenant begin with, and of nobody else's."""
    return f"{tenant_id}/"


def result_key(tenant_id: int, file_prefix: UUID, attempt: int, index: int) -> str:
    """Name image `index` of one attempt.

    The attempt is part of the name: two attempts of one job never write the same object, so
    a repeated upload is harmless and a worker given up for dead cannot spoil its successor's.
    """
    return f"{tenant_prefix(tenant_id)}generations/{file_prefix}-{attempt}-{index}.png"


def input_key(tenant_id: int, file_prefix: UUID, field: str) -> str:
    """Name a picture the caller sent in the request itself; `field` is `init_image` or the like."""
    return f"{tenant_prefix(tenant_id)}inputs/{file_prefix}-{field}"


def parse_file_prefix(key: str) -> UUID | None:
    """Read whose object this is; None unless the key is exactly as we would have named it."""
    for form in _OURS:
        if match := form.fullmatch(key):
            return UUID(match["file_prefix"])
    return None


@dataclass(frozen=True, slots=True)
class JobObjects:
    """What a job's row says about the objects of its prefix.

    `named` are the keys that its result and its inputs name; none, once they were deleted.
    """

    ended: bool
    named: frozenset[str]


def is_orphan(key: str, job: JobObjects | None) -> bool:
    """Tell whether nobody will ever ask for an object; `job` is None where no row has its prefix.

    What an unfinished job left is nobody's yet: its attempt may be about to name it.
    """
    return job is None or (job.ended and key not in job.named)


def list_possible_result_keys(
    tenant_id: int, file_prefix: UUID, *, attempts: int, samples: int
) -> frozenset[str]:
    """Name every image that some attempt of a job may have left."""
    return frozenset(
        result_key(tenant_id, file_prefix, attempt, index)
        for attempt in range(1, attempts + 1)
        for index in range(samples)
    )
