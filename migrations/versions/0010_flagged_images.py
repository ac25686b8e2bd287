"""The ledger and its totals tell how many images were found unsafe."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# By a trigger, because dispatchers of the release before fold, too, and know nothing of the new
# column: whoever takes marks away has added their entries to the totals in the same statement, and
# the trigger comes after all of it. Where marks go with the entries of an erased tenant, there is
# no entry left to be found. Entries are looked up one by one, which the limit forces, as in the
# statement that folds.
FOLD_FLAGGED = """
CREATE FUNCTION infill_fold_flagged() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $body$
BEGIN
    UPDATE daily_usage SET flagged_images = daily_usage.flagged_images + summed.flagged
    FROM (
        SELECT entries.tenant_id, (entries.created_at AT TIME ZONE 'UTC')::date AS day,
            entries.model, sum(entries.flagged_images) AS flagged
        FROM folded CROSS JOIN LATERAL (
            SELECT * FROM usage_entries WHERE usage_entries.job_id = folded.job_id LIMIT 1
        ) AS entries
        WHERE entries.flagged_images > 0
        GROUP BY 1, 2, 3
    ) AS summed
    WHERE daily_usage.tenant_id = summed.tenant_id AND daily_usage.day = summed.day
        AND daily_usage.model = summed.model;
    RETURN NULL;
END
$body$
"""
TRIGGER = """
CREATE TRIGGER fold_flagged AFTER DELETE ON unfolded_usage
REFERENCING OLD TABLE AS folded FOR EACH STATEMENT EXECUTE FUNCTION infill_fold_flagged()
"""
TABLES = {"usage_entries": sa.SmallInteger(), "daily_usage": sa.BigInteger()}


def upgrade() -> None:
    """Go up."""
    for table, number in TABLES.items():
        column = sa.Column("flagged_images", number, server_default=sa.text("0"), nullable=False)
        op.add_column(table, column)
    for statement in (FOLD_FLAGGED, TRIGGER):
        op.execute(statement)
    op.execute("REVOKE ALL ON FUNCTION infill_fold_flagged() FROM PUBLIC")


def downgrade() -> None:
    """Go back down."""
    op.execute("DROP TRIGGER fold_flagged ON unfolded_usage")
    op.execute("DROP FUNCTION infill_fold_flagged()")
    for table in TABLES:
        op.drop_column(table, "flagged_images")
