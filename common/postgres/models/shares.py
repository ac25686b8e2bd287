"""Tables for sharing the GPUs between tenants: limits on running jobs, and virtual times."""

from sqlalchemy import ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import Table

# For small tables whose rows change with every claim: a vacuum is due within seconds, and free
# space on each page lets a row's next version stay on it (HOT updates).
CHANGED_ALL_THE_TIME = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 2_000,
}


class TenantShare(Table):
    """One tenant's weight and limits, derived from its plan and own limits, and its running jobs.

    These columns are not in `tenants`, because every insert of a job locks the tenant's row there
    to prevent its deletion. NULL in `max_running` and `max_running_per_queue` means unlimited.
    While a share is `closed`, no jobs of the tenant are claimed.
    """

    __tablename__ = "tenant_shares"

    tenant_id: Mapped[int] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    weight: Mapped[float] = mapped_column(server_default=text("1"))
    max_running: Mapped[int | None] = mapped_column(Integer)
    max_running_per_queue: Mapped[int | None] = mapped_column(Integer)
    closed: Mapped[bool] = mapped_column(server_default=text("false"))
    running: Mapped[int] = mapped_column(Integer, server_default=text("0"))

    __table_args__ = ({"postgresql_with": CHANGED_ALL_THE_TIME},)


class TenantQueue(Table):
    """State of one tenant in one queue for start-time fair queueing (Goyal, Vin and Cheng, 1996).

    `virtual_time` is the service received so far, in megapixel-steps divided by the weight: the
    tenant with the smallest value is served next; if several tenants have this value, the one
    served longest ago comes first. `start_tag` is the virtual time before the latest claim. The
    greatest start tag of a queue is the queue's own virtual time, to which a tenant is raised when
    it has jobs again. `has_ready` means that the tenant may have jobs that are due. `backlog` is
    the cost of its waiting jobs in megapixel-steps, as last counted.
    """

    __tablename__ = "tenant_queues"

    tenant_id: Mapped[int] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    queue: Mapped[str] = mapped_column(primary_key=True)
    virtual_time: Mapped[float] = mapped_column(server_default=text("0"))
    start_tag: Mapped[float] = mapped_column(server_default=text("0"))
    has_ready: Mapped[bool] = mapped_column(server_default=text("false"))
    running: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    backlog: Mapped[float] = mapped_column(server_default=text("0"))

    __table_args__ = (
        Index(
            "ix_tenant_queues_ready",
            "queue",
            "virtual_time",
            "start_tag",
            postgresql_where=text("has_ready"),
        ),
        Index("ix_tenant_queues_start_tag", "queue", "start_tag"),
        {"postgresql_with": CHANGED_ALL_THE_TIME},
    )
