"""Tables of webhook deliveries and of their attempts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from common.domain.delivery import DeliveryState
from common.postgres.models.schema import VACUUMED_OFTEN, Table, state_type


class Delivery(Table):
    """One event for one receiver; `id` is the `webhook-id`, by which receivers detect duplicates.

    The database derives `origin` from the URL, and `track_hash` from the job's `track_id`. The hash
    is stored here because a search by `track_id` would otherwise need an index on `jobs`, which
    would slow down claims. It is a hash because a `track_id` may be too long for an index entry.
    """

    __tablename__ = "deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    event: Mapped[str]
    url: Mapped[str]
    origin: Mapped[str]
    track_hash: Mapped[int | None]
    state: Mapped[DeliveryState] = mapped_column(
        state_type(DeliveryState), server_default=DeliveryState.PENDING.value
    )
    # `attempt` is the fencing token: every claim increments it, even if its dispatcher then died.
    # `failures` counts recorded failures: it is the index into the retry schedule.
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    failures: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    claimed_by: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "(state = 'sending') = (lease_expires_at IS NOT NULL)", name="lease_while_sending"
        ),
        # A tenant's deliveries, latest job first; and deleting the tenant.
        Index(None, "tenant_id", "job_id"),
        Index(
            "ix_deliveries_track_hash",
            "tenant_id",
            "track_hash",
            "job_id",
            postgresql_where=text("track_hash IS NOT NULL"),
        ),
        # Failed deliveries that a tenant asks to redeliver.
        Index(
            "ix_deliveries_failed",
            "tenant_id",
            "finished_at",
            postgresql_where=text("state IN ('exhausted', 'discarded')"),
        ),
        Index("uq_deliveries_job_id_event", "job_id", "event", unique=True),
        # Due deliveries of one tenant origin, first attempts and retries separately.
        Index(
            "ix_deliveries_first",
            "tenant_id",
            "origin",
            "available_at",
            postgresql_where=text("state = 'pending' AND attempt = 0"),
        ),
        Index(
            "ix_deliveries_retry",
            "tenant_id",
            "origin",
            "available_at",
            postgresql_where=text("state = 'pending' AND attempt > 0"),
        ),
        Index(
            "ix_deliveries_lease",
            "lease_expires_at",
            postgresql_include=["tenant_id", "origin"],
            postgresql_where=text("state = 'sending'"),
        ),
        # Retention.
        Index(
            "ix_deliveries_finished",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        {"postgresql_with": VACUUMED_OFTEN},
    )


class DeliveryAttempt(Table):
    """The outcome of one delivery attempt.

    `ended_by` is the reason why the delivery failed for good with this attempt: `gone`,
    `abort_message`, `address_not_allowed` or `schedule`; NULL if it was delivered or will be
    retried. `answer` (its name in the API) is the start of the response body.
    """

    __tablename__ = "delivery_attempts"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("deliveries.id", ondelete="CASCADE"), index=True
    )
    attempt: Mapped[int] = mapped_column(SmallInteger)
    started_at: Mapped[datetime]
    duration_ms: Mapped[int]
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    error: Mapped[str | None]
    answer: Mapped[str]
    next_attempt_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]
