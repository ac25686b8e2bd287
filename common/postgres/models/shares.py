"""How the GPUs are shared: what each tenant may have at work, and how much it has been served."""

from sqlalchemy import ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import Table

# Small tables whose every row changes with each claim: a vacuum is due within seconds, and room
# on the pages lets a row's next version stay beside it.
CHANGED_ALL_THE_TIME = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 2_000,
}


class TenantShare(Table):
    """One tenant's share: the limits a claim asks for, copied from plan and tenant.

    Apart from `tenants`, whose row every inserted job locks against deletion.
    `max_running` and `max_running_per_queue` NULL are no limit; a closed share is not served.
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
    """One tenant in one queue, by start-time fair queueing (Goyal, Vin and Cheng, 1996).

    `virtual_time` is the service received, in megapixel-steps divided by the weight: the least is
    served next, of equals the one served longest ago. `start_tag` is what it was before the latest
    claim: the greatest of a queue is the queue's own virtual time, to which a tenant is lifted
    that comes back. `has_ready` says that jobs may wait whose time has come. `backlog` is the work
    that waits, in megapixel-steps, as last counted.
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
