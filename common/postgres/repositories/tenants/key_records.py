"""What API keys and admin keys have in common: their rows read the same."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from common.postgres.models import AdminKey, ApiKey


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as an operator sees it; the key itself is not known to us."""

    id: int
    name: str
    last_four: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


def key_columns(table: type[ApiKey | AdminKey]) -> tuple[InstrumentedAttribute[Any], ...]:
    """Give the columns a record is made of, in its order."""
    return (
        table.id,
        table.name,
        table.last_four,
        table.created_at,
        table.last_used_at,
        table.expires_at,
        table.revoked_at,
    )
