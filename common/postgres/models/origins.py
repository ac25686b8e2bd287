"""How dispatchers are shared: one line for each tenant and origin, and turns between tenants."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import Table
from common.postgres.models.shares import CHANGED_ALL_THE_TIME

_NEVER: Any = text("'infinity'")
_LONG_AGO: Any = text("'-infinity'")


class TenantOrigin(Table):
    """What one tenant sends to one origin: however much waits, to all others it is one row.

    `sending` are under way, never less than the rows say. `first_due_at` is when the first of the
    deliveries never tried is due, `retry_due_at` that of the others: never later than the rows
    say, infinity where none is known. The breaker is closed while `open_until` is -infinity; until
    then it is open, and past it half open: one attempt may go. `held_until` is when anything may be
    sent next: infinity while as many are under way as may be, else `open_until`. Of `requests`
    recorded since `counted_since`, so many `failed`.
    """

    __tablename__ = "tenant_origins"

    tenant_id: Mapped[int] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    origin: Mapped[str] = mapped_column(primary_key=True)
    sending: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    first_due_at: Mapped[datetime] = mapped_column(server_default=_NEVER)
    retry_due_at: Mapped[datetime] = mapped_column(server_default=_NEVER)
    held_until: Mapped[datetime] = mapped_column(server_default=_LONG_AGO)
    open_until: Mapped[datetime] = mapped_column(server_default=_LONG_AGO)
    counted_since: Mapped[datetime] = mapped_column(server_default=func.now())
    requests: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failed: Mapped[int] = mapped_column(Integer, server_default=text("0"))

    __table_args__ = (
        Index("ix_tenant_origins_first", "tenant_id", text("greatest(first_due_at, held_until)")),
        Index("ix_tenant_origins_retry", "tenant_id", text("greatest(retry_due_at, held_until)")),
        Index(
            "ix_tenant_origins_open",
            "open_until",
            postgresql_where=text("open_until > '-infinity'"),
        ),
        {"postgresql_with": CHANGED_ALL_THE_TIME},
    )


class TenantDispatch(Table):
    """A tenant's turn at the dispatchers, with first attempts and with retries.

    Of those that have something due the one served longest ago is next, whatever the number of its
    lines. `has_due` says that a line may have something to be sent now; where it does not, `due_at`
    says when one will. It is never later than the lines say.
    """

    __tablename__ = "tenant_dispatches"

    tenant_id: Mapped[int] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    retries: Mapped[bool] = mapped_column(primary_key=True)
    has_due: Mapped[bool] = mapped_column(server_default=text("false"))
    due_at: Mapped[datetime] = mapped_column(server_default=_NEVER)
    served_at: Mapped[datetime] = mapped_column(server_default=_LONG_AGO)

    __table_args__ = (
        Index(
            "ix_tenant_dispatches_served",
            "retries",
            "served_at",
            postgresql_where=text("has_due"),
        ),
        Index("ix_tenant_dispatches_due", "due_at", postgresql_where=text("NOT has_due")),
        {"postgresql_with": CHANGED_ALL_THE_TIME},
    )
