"""The base class of all table models: constraint names, column types, storage parameters."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Enum, MetaData, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase


class Table(DeclarativeBase):
    """Base class of all tables; gives constraints predictable names, which migrations refer to."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 SQLAlchemy reads a plain dict
        str: Text(),
        int: BigInteger(),
        datetime: DateTime(timezone=True),
        UUID: Uuid(),
        dict[str, Any]: JSONB(none_as_null=True),
    }


# For tables whose rows are inserted, change state and stay. A claim skips the index entries of all
# rows claimed since the last vacuum. So a vacuum is due after a number of changed rows, not after
# a fraction of the table, and it always cleans the indexes.
VACUUMED_OFTEN = {
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 10_000,
    "vacuum_index_cleanup": "on",
}


def state_type(states: type[StrEnum]) -> Enum:
    """Return the column type for a state: text with a CHECK that allows exactly `states`."""
    return Enum(
        states,
        native_enum=False,
        create_constraint=True,
        name="state",
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )
