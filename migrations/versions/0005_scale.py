"""What keeps claims fast over millions of jobs: vacuums in time, and the time in the index."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OFTEN = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "10000",
    "vacuum_index_cleanup": "on",
}
TABLES = ("jobs", "deliveries")


def upgrade() -> None:
    """Go up."""
    _index_queued(["queue", sa.literal_column("priority DESC"), "id", "available_at"], ["cost"])
    spelled = ", ".join(f"{name} = {value}" for name, value in OFTEN.items())
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} SET ({spelled})")


def downgrade() -> None:
    """Go back down."""
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(OFTEN)})")
    _index_queued(["queue", sa.literal_column("priority DESC"), "id"], ["available_at", "cost"])


def _index_queued(keys: list[str | sa.ColumnClause[int]], included: list[str]) -> None:
    op.drop_index("ix_jobs_queued", "jobs")
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        keys,
        postgresql_include=included,
        postgresql_where=sa.text("state = 'queued'"),
    )
