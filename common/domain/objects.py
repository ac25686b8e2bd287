"""How objects are named in the store."""

from uuid import UUID


def result_key(tenant_id: int, file_prefix: UUID, attempt: int, index: int) -> str:
    """Name image `index` of one attempt.

    The attempt is part of the name: two attempts of one job never write the same object, so
    a repeated upload is harmless and a worker given up for dead cannot spoil its successor's.
    """
    return f"{tenant_id}/generations/{file_prefix}-{attempt}-{index}.png"


def input_key(tenant_id: int, file_prefix: UUID, field: str) -> str:
    """Name a picture the caller sent in the request itself; `field` is `init_image` or the like."""
    return f"{tenant_id}/inputs/{file_prefix}-{field}"
