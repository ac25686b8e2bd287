"""Jobs, what they cost, and the workers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.columns import key, moment, moment_now, state

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go up."""
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("queues", postgresql.ARRAY(sa.Text()), nullable=False),
        moment_now("started_at"),
        moment_now("seen_at"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "jobs",
        key(),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("file_prefix", sa.Uuid(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        state("queued", "running", "succeeded", "failed", "canceled"),
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.SmallInteger(), nullable=False),
        moment_now("available_at"),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        moment("lease_expires_at"),
        sa.Column("request", postgresql.JSONB(), nullable=False),
        sa.Column("inputs", postgresql.JSONB(), nullable=False),
        sa.Column("base64", sa.Boolean(), nullable=False),
        sa.Column("cost", sa.Double(), nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("track_id", postgresql.JSONB(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_digest", sa.LargeBinary(), nullable=True),
        sa.Column("result", postgresql.JSONB(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        moment_now("created_at"),
        moment("started_at"),
        moment("finished_at"),
        sa.CheckConstraint(
            "(state = 'running') = (lease_expires_at IS NOT NULL)",
            name=op.f("ck_jobs_lease_while_running"),
        ),
        sa.CheckConstraint(
            "(state = 'succeeded') = (result IS NOT NULL)", name=op.f("ck_jobs_result_if_succeeded")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_jobs_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_lease",
        "jobs",
        ["lease_expires_at"],
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        ["queue", sa.literal_column("priority DESC"), "id"],
        postgresql_include=["available_at", "cost"],
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_succeeded",
        "jobs",
        ["queue", sa.literal_column("finished_at DESC")],
        postgresql_where=sa.text("state = 'succeeded'"),
    )
    op.create_index("uq_jobs_file_prefix", "jobs", ["file_prefix"], unique=True)
    op.create_index(
        "uq_jobs_idempotency_key",
        "jobs",
        ["tenant_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "usage_entries",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("images", sa.SmallInteger(), nullable=False),
        sa.Column("megapixel_steps", sa.Double(), nullable=False),
        sa.Column("gpu_milliseconds", sa.BigInteger(), nullable=False),
        moment_now("created_at"),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_usage_entries_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_usage_entries")),
    )
    op.create_index(
        op.f("ix_usage_entries_tenant_id_created_at"),
        "usage_entries",
        ["tenant_id", "created_at"],
    )


def downgrade() -> None:
    """Go back down; a table's indexes go with it."""
    op.drop_table("usage_entries")
    op.drop_table("jobs")
    op.drop_table("workers")
