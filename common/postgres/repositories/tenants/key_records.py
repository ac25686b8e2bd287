"""Records of API keys and admin keys, whose tables have the same columns."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from common.postgres.models import AdminKey, ApiKey


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key or admin key as operators see it; the key itself is not stored."""

    id: int
    name: str
    last_four: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


def list_key_columns(table: type[ApiKey | AdminKey]) -> tuple[InstrumentedAttribute[Any], ...]:
    """Return the columns of `table` that match the fields of `KeyRecord`, in their order."""
    return (
        table.id,
        table.name,
        table.last_four,
        table.created_at,
        table.last_used_at,
        table.expires_at,
        table.revoked_at,
    )
