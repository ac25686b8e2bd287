"""The table with the identity of this installation."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import Table


class Installation(Table):
    """The single row with the id of this installation, which is also stored in its bucket.

    Objects that no job refers to are deleted from the bucket. The id prevents two installations
    that share a bucket by mistake from deleting each other's images.
    """

    __tablename__ = "installations"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    # Last object key checked by the search for orphans; NULL at its start.
    checked_to: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
