"""Tenants look at their deliveries, ask for them again and try their receivers out."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROLE = "infill_gateway"

# Of the spelling, so that 17 is found whether it came as a number or as text. A hash, because an
# index takes no text as long as a track_id may be; in a column, because an index on an expression
# is no use behind row-level security: only operators known to leak nothing reach it.
HASH = "hashtextextended(track_id #>> '{}', 0)"
# A trigger, because workers of the release before write deliveries, too.
HASH_TRACK_ID = f"""
CREATE FUNCTION infill_hash_track_id() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $body$
BEGIN
    NEW.track_hash = (SELECT {HASH} FROM jobs WHERE jobs.id = NEW.job_id);
    RETURN NEW;
END
$body$
"""  # noqa: S608 our own words
TRIGGER = """
CREATE TRIGGER hash_track_id BEFORE INSERT ON deliveries
FOR EACH ROW EXECUTE FUNCTION infill_hash_track_id()
"""
# Nobody waits for these rows any more than before: the lines need not hear of it.
FILL_IN = (
    "ALTER TABLE deliveries DISABLE TRIGGER note_updated",
    f"""UPDATE deliveries SET track_hash = {HASH} FROM jobs
    WHERE jobs.id = deliveries.job_id AND jobs.track_id IS NOT NULL""",  # noqa: S608 our own words
    "ALTER TABLE deliveries ENABLE TRIGGER note_updated",
)
RIGHTS = {
    "deliveries": "SELECT (event, url, origin, attempt, available_at, created_at, finished_at, "
    "track_hash), UPDATE (state, available_at, finished_at, failures)",
    "delivery_attempts": "SELECT",
    "webhook_secrets": "SELECT (id, tenant_id, secret, expires_at)",
}


def upgrade() -> None:
    """Go up."""
    op.add_column("deliveries", sa.Column("track_hash", sa.BigInteger(), nullable=True))
    for statement in (*FILL_IN, HASH_TRACK_ID, TRIGGER):
        op.execute(statement)
    op.execute("REVOKE ALL ON FUNCTION infill_hash_track_id() FROM PUBLIC")
    op.drop_index(op.f("ix_deliveries_tenant_id"), "deliveries")
    op.create_index(op.f("ix_deliveries_tenant_id_job_id"), "deliveries", ["tenant_id", "job_id"])
    op.create_index(
        "ix_deliveries_track_hash",
        "deliveries",
        ["tenant_id", "track_hash", "job_id"],
        postgresql_where=sa.text("track_hash IS NOT NULL"),
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
    op.execute("DROP TRIGGER hash_track_id ON deliveries")
    op.execute("DROP FUNCTION infill_hash_track_id()")
    op.drop_column("deliveries", "track_hash")
