"""What every table shares: naming of constraints and the column types."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Enum, MetaData, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase


class Table(DeclarativeBase):
    """Parent of all tables; constraints get predictable names, so migrations can address them."""

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


# For tables whose rows come, change state and stay. Whoever takes the next row steps over the
# index entries of those taken since the last vacuum: so a vacuum is due by their number, not by the
# table's size, and it clears the indexes, however small their part.
VACUUMED_OFTEN = {
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 10_000,
    "vacuum_index_cleanup": "on",
}


def state_type(states: type[StrEnum]) -> Enum:
    """Give a text column whose CHECK allows exactly the members of `states`."""
    return Enum(
        states,
        native_enum=False,
        create_constraint=True,
        name="state",
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )
