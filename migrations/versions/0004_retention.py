"""How long things are kept, and how long a job may wait."""

import sqlalchemy as sa
from alembic import op

from migrations.columns import moment, moment_now

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go up."""
    installations = op.create_table(
        "installations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("walked_to", sa.Text(), nullable=True),
        moment_now("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installations")),
    )
    op.execute(sa.insert(installations))
    op.add_column("jobs", moment("objects_deleted_at"))
    op.create_index(
        "ix_jobs_waiting", "jobs", ["created_at"], postgresql_where=sa.text("state = 'queued'")
    )
    op.create_index(
        "ix_jobs_with_objects",
        "jobs",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL AND objects_deleted_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_without_objects",
        "jobs",
        ["finished_at"],
        postgresql_where=sa.text("objects_deleted_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_finished",
        "deliveries",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Go back down; a column's indexes go with it."""
    op.drop_index("ix_deliveries_finished", "deliveries")
    op.drop_index("ix_jobs_waiting", "jobs")
    op.drop_column("jobs", "objects_deleted_at")
    op.drop_table("installations")
