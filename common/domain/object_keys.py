"""Keys of objects in the object store: build them, parse them, and recognize orphans."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from common.domain.generation import ImageFormat

# The only object that is not an image: it holds the id of the installation that owns the bucket.
# No tenant's prefix begins with a dot, so the key cannot collide with one of theirs.
MARKER_KEY: Final = ".infill/installation"

_NUMBER: Final = "[1-9][0-9]*"
_PREFIX: Final = "(?P<file_prefix>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_FORMAT: Final = "|".join(ImageFormat)
_RESULT: Final = f"{_NUMBER}/generations/{_PREFIX}-{_NUMBER}-(?:0|{_NUMBER})[.](?:{_FORMAT})"
_INPUT: Final = f"{_NUMBER}/inputs/{_PREFIX}-[a-z_]+"
_OURS: Final = (re.compile(_RESULT), re.compile(_INPUT))


def tenant_prefix(tenant_id: int) -> str:
    """Return the prefix shared by the keys of all the tenant's objects, and by no other keys."""
    return f"{tenant_id}/"


def result_key(
    tenant_id: int,
    file_prefix: UUID,
    attempt: int,
    index: int,
    image_format: ImageFormat = ImageFormat.PNG,
) -> str:
    """Return the object key of the image with `index` (from 0) that an attempt generates.

    Because the attempt is part of the key, two attempts of a job never write the same object: a
    worker whose lease expired cannot overwrite the images of the next attempt.
    """
    name = f"{file_prefix}-{attempt}-{index}.{image_format}"
    return f"{tenant_prefix(tenant_id)}generations/{name}"


def input_key(tenant_id: int, file_prefix: UUID, field: str) -> str:
    """Return the object key of an image sent in the request; `field` is e.g. `init_image`."""
    return f"{tenant_prefix(tenant_id)}inputs/{file_prefix}-{field}"


def parse_file_prefix(key: str) -> UUID | None:
    """Return the job's file prefix from an object key, or None if the key is not in our format."""
    for form in _OURS:
        if match := form.fullmatch(key):
            return UUID(match["file_prefix"])
    return None


@dataclass(frozen=True, slots=True)
class JobObjects:
    """The objects that a job's row refers to.

    `named` holds the object keys of the job's result and inputs; it is empty once these objects
    have been deleted.
    """

    ended: bool
    named: frozenset[str]


def is_orphan(key: str, job: JobObjects | None) -> bool:
    """Return whether the object can be deleted because no job refers to it.

    `job` describes the job with the object's file prefix, or is None if there is no such job.
    Objects of an unfinished job are not orphans: the running attempt may be about to record them.
    """
    return job is None or (job.ended and key not in job.named)


def list_possible_result_keys(
    tenant_id: int,
    file_prefix: UUID,
    *,
    attempts: int,
    samples: int,
    image_format: ImageFormat = ImageFormat.PNG,
) -> frozenset[str]:
    """Return the object keys of all images that any attempt of a job may have uploaded."""
    return frozenset(
        result_key(tenant_id, file_prefix, attempt, index, image_format)
        for attempt in range(1, attempts + 1)
        for index in range(samples)
    )
