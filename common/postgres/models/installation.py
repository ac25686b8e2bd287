"""Which installation these tables are."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import Table


class Installation(Table):
    """The one row that names this installation; its bucket carries the same name.

    What no row knows is deleted from the bucket. The name keeps two installations that were
    pointed at one bucket by mistake from deleting each other's pictures.
    """

    __tablename__ = "installations"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    # How far the walk through the bucket has come, an object key; NULL at its beginning.
    walked_to: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
