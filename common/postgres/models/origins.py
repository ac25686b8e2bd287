"""Tables for sharing the dispatchers fairly between tenants and between a tenant's origins."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import Table
from common.postgres.models.shares import CHANGED_ALL_THE_TIME

_NEVER: Any = text("'infinity'")
_LONG_AGO: Any = text("'-infinity'")


class TenantOrigin(Table):
    """Counters of one tenant's deliveries to one origin (scheme, host and port).

    Because of this row, the cost of a claim does not depend on the number of waiting deliveries.
    `sending` is an upper bound on the number of deliveries being sent. `first_due_at` is when the
    next first attempt is due, and `retry_due_at` is when the next retry is due, or infinity if
    there is none; both may be too early but never too late. The circuit breaker is closed if
    `open_until` is -infinity, open until that time, and half open afterwards, when a single attempt
    may be made. `held_until` is when the next attempt may be made: infinity while the concurrency
    limit is reached, otherwise `open_until`. Since `counted_since`, the breaker has counted
    `requests` attempts, of which `failed` were failures.
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
    """When a tenant's deliveries were last served: one row for first attempts, one for retries.

    Among the tenants with due deliveries, the tenant served longest ago is served next, however
    many origins it has. `has_due` means that the tenant may have a due delivery. If it is false,
    `due_at` is when the next delivery is due; it may be too early but never too late.
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
