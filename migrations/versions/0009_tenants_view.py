"""Tenants look at their deliveries, ask for them again and try their receivers out."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROLE = "infill_gateway"

# A trigger, because workers of the release before write deliveries, too.
TAKE_TRACK_ID = """
CREATE FUNCTION infill_take_track_id() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $body$
BEGIN
    NEW.track_id := (SELECT track_id FROM jobs WHERE jobs.id = NEW.job_id);
    RETURN NEW;
END
$body$
"""
TRIGGER = """
CREATE TRIGGER take_track_id BEFORE INSERT ON deliveries FOR EACH ROW
WHEN (NEW.track_id IS NULL) EXECUTE FUNCTION infill_take_track_id()
"""
# Nobody waits for these rows any more than before: the lines need not hear of it.
FILL_IN = (
    "ALTER TABLE deliveries DISABLE TRIGGER note_updated",
    """UPDATE deliveries SET track_id = jobs.track_id FROM jobs
    WHERE jobs.id = deliveries.job_id AND jobs.track_id IS NOT NULL""",
    "ALTER TABLE deliveries ENABLE TRIGGER note_updated",
)
# A hash, because an index takes no text as long as a track_id may be; and of the spelling, so
# that 17 is found whether it came as a number or as text.
SPELLING = "hashtextextended(track_id #>> '{}', 0)"
RIGHTS = {
    "deliveries": "SELECT (event, url, origin, attempt, available_at, created_at, finished_at, "
    "track_id), UPDATE (state, available_at, finished_at, failures)",
    "delivery_attempts": "SELECT",
    "webhook_secrets": "SELECT (id, tenant_id, secret, expires_at)",
}


def upgrade() -> None:
    """Go up."""
    op.add_column("deliveries", sa.Column("track_id", postgresql.JSONB(), nullable=True))
    for statement in (*FILL_IN, TAKE_TRACK_ID, TRIGGER):
        op.execute(statement)
    op.execute("REVOKE ALL ON FUNCTION infill_take_track_id() FROM PUBLIC")
    op.drop_index(op.f("ix_deliveries_tenant_id"), "deliveries")
    op.create_index(op.f("ix_deliveries_tenant_id_job_id"), "deliveries", ["tenant_id", "job_id"])
    op.create_index(
        "ix_deliveries_track_id",
        "deliveries",
        ["tenant_id", sa.text(SPELLING), "job_id"],
        postgresql_where=sa.text("track_id IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_failed",
        "deliveries",
        ["tenant_id", "finished_at"],
        postgresql_where=sa.text("state IN ('exhausted', 'discarded')"),
    )
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {ROLE}")


def downgrade() -> None:
    """Go back down; a column's indexes and rights go with it."""
    for table, rights in RIGHTS.items():
        op.execute(f"REVOKE {rights} ON {table} FROM {ROLE}")
    op.drop_index("ix_deliveries_failed", "deliveries")
    op.drop_index(op.f("ix_deliveries_tenant_id_job_id"), "deliveries")
    op.create_index(op.f("ix_deliveries_tenant_id"), "deliveries", ["tenant_id"])
    op.execute("DROP TRIGGER take_track_id ON deliveries")
    op.execute("DROP FUNCTION infill_take_track_id()")
    op.drop_column("deliveries", "track_id")
