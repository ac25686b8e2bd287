"""Tables of jobs and of workers."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Text,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from common.domain.job import JobState
from common.postgres.models.schema import VACUUMED_OFTEN, Table, state_type


class Job(Table):
    """One generation request with its state and result; this row is the only source of truth."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    file_prefix: Mapped[UUID]
    queue: Mapped[str]
    state: Mapped[JobState] = mapped_column(
        state_type(JobState), server_default=JobState.QUEUED.value
    )
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    max_attempts: Mapped[int] = mapped_column(SmallInteger)
    # The last attempt lost its worker, and may have been the cause: the next one is run alone.
    suspect: Mapped[bool] = mapped_column(server_default=false())
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    claimed_by: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]

    request: Mapped[dict[str, Any]]
    inputs: Mapped[dict[str, Any]]
    base64: Mapped[bool]
    cost: Mapped[float]
    webhook_url: Mapped[str | None]
    # Returned as it was sent: JSONB would change numbers such as 1e18 and -0.0.
    track_id: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    idempotency_key: Mapped[str | None]
    request_digest: Mapped[bytes | None]

    result: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    objects_deleted_at: Mapped[datetime | None]  # its images are deleted; the row may stay longer

    __table_args__ = (
        CheckConstraint(
            "(state = 'running') = (lease_expires_at IS NOT NULL)", name="lease_while_running"
        ),
        CheckConstraint("(state = 'succeeded') = (result IS NOT NULL)", name="result_if_succeeded"),
        # What a claim reads, in queue order: one tenant's waiting jobs in one queue.
        # `available_at` is a key, so that jobs that are not due are skipped within the index.
        Index(
            "ix_jobs_queued",
            "tenant_id",
            "queue",
            text("priority DESC"),
            "id",
            "available_at",
            postgresql_include=["cost"],
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "ix_jobs_lease",
            "lease_expires_at",
            postgresql_include=["tenant_id", "queue", "cost"],
            postgresql_where=text("state = 'running'"),
        ),
        # Jobs that have waited too long.
        Index("ix_jobs_waiting", "created_at", postgresql_where=text("state = 'queued'")),
        # Retention deletes first the images, then the row; an ended job is in one of the two.
        Index(
            "ix_jobs_with_objects",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND objects_deleted_at IS NULL"),
        ),
        Index(
            "ix_jobs_without_objects",
            "finished_at",
            postgresql_where=text("objects_deleted_at IS NOT NULL"),
        ),
        # The speed of a queue is measured from its latest successes.
        Index(
            "ix_jobs_succeeded",
            "queue",
            text("finished_at DESC"),
            postgresql_where=text("state = 'succeeded'"),
        ),
        # Deleting a tenant looks for its jobs twice: we do in batches, then Postgres by cascade.
        Index(None, "tenant_id"),
        # Object keys contain the prefix, and requests that wait without Redis poll by it.
        Index("uq_jobs_file_prefix", "file_prefix", unique=True),
        Index(
            "uq_jobs_idempotency_key",
            "tenant_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        {"postgresql_with": VACUUMED_OFTEN},
    )


class Worker(Table):
    """A worker process and its last heartbeat; estimates of waiting times count live workers."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    queues: Mapped[list[str]] = mapped_column(ARRAY(Text))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
