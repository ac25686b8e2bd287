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
    "infill_cancel(tenant bigint, job bigint, message text)",
    "infill_queue_totals(queue text, silent_seconds double precision)",
    "infill_queue_at_work(queue text)",
)


def upgrade() -> None:
    """Go up."""
    for signature in FUNCTIONS:
        op.execute(definition(signature).replace("CREATE", "CREATE OR REPLACE", 1))
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {ROLE}")


def downgrade() -> None:
    """Go back down; the functions stay, since 0007 takes them away."""
