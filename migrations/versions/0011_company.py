"""Jobs are drawn in company: estimates reckon with it, and tenants cancel jobs of theirs."""

from alembic import op

from migrations.gateway_functions import definition

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ROLE = "infill_gateway"

# A fresh database has them from 0007 on; each of them reads rows of the release before, too.
FUNCTIONS = (
    "infill_queue_totals(queue text, silent_seconds double precision)",
    "infill_queue_at_work(queue text)",
)
# What ending a job by its owner writes; which rows, row-level security says.
RIGHTS = {
    "jobs": "UPDATE (state, claimed_by, lease_expires_at, finished_at, error_code, error_message)",
    "deliveries": "INSERT (job_id, tenant_id, event, url)",
    "tenant_queues": "UPDATE (running)",
    "tenant_shares": "UPDATE (running)",
}


def upgrade() -> None:
    """Go up."""
    for signature in FUNCTIONS:
        op.execute(definition(signature).replace("CREATE", "CREATE OR REPLACE", 1))
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {ROLE}")
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {ROLE}")


def downgrade() -> None:
    """Go back down; the functions stay, since 0007 takes them away."""
    for table, rights in RIGHTS.items():
        op.execute(f"REVOKE {rights} ON {table} FROM {ROLE}")
