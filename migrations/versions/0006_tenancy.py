"""Plans and limits, fair shares, the usage ledger's totals, admin keys and the audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.columns import key, moment, moment_now

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# What an installation had before there were plans: no limit at all.
DEFAULT_PLAN = "INSERT INTO plans (name) VALUES ('default')"
SHARES = (
    "INSERT INTO tenant_shares (tenant_id, closed) SELECT id, disabled_at IS NOT NULL FROM tenants"
)
QUEUES = """
INSERT INTO tenant_queues (tenant_id, queue, has_ready, running, backlog)
SELECT tenant_id, queue, bool_or(state = 'queued'), count(*) FILTER (WHERE state = 'running'),
    coalesce(sum(cost) FILTER (WHERE state = 'queued'), 0)
FROM jobs WHERE state IN ('queued', 'running') GROUP BY tenant_id, queue
"""
RUNNING = """
UPDATE tenant_shares SET running = counted.running
FROM (SELECT tenant_id, sum(running) AS running FROM tenant_queues GROUP BY tenant_id) AS counted
WHERE counted.tenant_id = tenant_shares.tenant_id
"""
UNFOLDED = "INSERT INTO unfolded_usage SELECT job_id, tenant_id FROM usage_entries"
# Whose rows a deleted tenant's are looked for in.
OF_TENANTS = ("jobs", "deliveries")
CHANGED_ALL_THE_TIME = {
    "fillfactor": "50",
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "2000",
}
VACUUMED_OFTEN = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "10000",
    "vacuum_index_cleanup": "on",
}


def upgrade() -> None:
    """Go up."""
    _make_plans()
    _make_shares()
    _make_usage()
    _make_operators()
    op.add_column("api_keys", moment("last_used_at"))
    _index_jobs(["tenant_id", "queue"], ["tenant_id", "queue", "cost"])
    for table in OF_TENANTS:
        op.create_index(op.f(f"ix_{table}_tenant_id"), table, ["tenant_id"])
    for statement in (SHARES, QUEUES, RUNNING, UNFOLDED):
        op.execute(statement)


def downgrade() -> None:
    """Go back down; a table's indexes go with it."""
    for table in OF_TENANTS:
        op.drop_index(op.f(f"ix_{table}_tenant_id"), table)
    _index_jobs(["queue"], [])
    op.drop_column("api_keys", "last_used_at")
    for table in (
        *("audit_entries", "admin_keys", "daily_usage", "unfolded_usage"),
        *("tenant_queues", "tenant_shares"),
    ):
        op.drop_table(table)
    op.alter_column("usage_entries", "megapixel_steps", type_=sa.Double())
    for column in ("plan_id", "limits", "deleting_at"):
        op.drop_column("tenants", column)
    op.drop_table("plans")


def _make_plans() -> None:
    op.create_table(
        "plans",
        key(),
        sa.Column("name", sa.Text(), nullable=False),
        _limits(),
        moment_now("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("name", name=op.f("uq_plans_name")),
    )
    op.execute(DEFAULT_PLAN)
    op.add_column("tenants", sa.Column("plan_id", sa.BigInteger(), nullable=True))
    op.execute("UPDATE tenants SET plan_id = (SELECT id FROM plans)")
    op.alter_column("tenants", "plan_id", nullable=False)
    op.create_foreign_key(op.f("fk_tenants_plan_id"), "tenants", "plans", ["plan_id"], ["id"])
    op.create_index(op.f("ix_tenants_plan_id"), "tenants", ["plan_id"])
    op.add_column("tenants", _limits())
    op.add_column("tenants", moment("deleting_at"))


def _make_shares() -> None:
    op.create_table(
        "tenant_shares",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("weight", sa.Double(), server_default=sa.text("1"), nullable=False),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("max_running_per_queue", sa.Integer(), nullable=True),
        sa.Column("closed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("running", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _of_tenant("tenant_shares"),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant_shares")),
        postgresql_with=CHANGED_ALL_THE_TIME,
    )
    op.create_table(
        "tenant_queues",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("virtual_time", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("start_tag", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("has_ready", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("running", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("backlog", sa.Double(), server_default=sa.text("0"), nullable=False),
        _of_tenant("tenant_queues"),
        sa.PrimaryKeyConstraint("tenant_id", "queue", name=op.f("pk_tenant_queues")),
        postgresql_with=CHANGED_ALL_THE_TIME,
    )
    op.create_index(
        "ix_tenant_queues_ready",
        "tenant_queues",
        ["queue", "virtual_time", "start_tag"],
        postgresql_where=sa.text("has_ready"),
    )
    op.create_index("ix_tenant_queues_start_tag", "tenant_queues", ["queue", "start_tag"])


def _make_usage() -> None:
    op.alter_column("usage_entries", "megapixel_steps", type_=sa.Numeric(20, 6))
    op.create_table(
        "unfolded_usage",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["usage_entries.job_id"],
            name=op.f("fk_unfolded_usage_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_unfolded_usage")),
        postgresql_with=VACUUMED_OFTEN,
    )
    op.create_index(op.f("ix_unfolded_usage_tenant_id"), "unfolded_usage", ["tenant_id"])
    op.create_table(
        "daily_usage",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.Column("megapixel_steps", sa.Numeric(20, 6), nullable=False),
        sa.Column("gpu_milliseconds", sa.BigInteger(), nullable=False),
        _of_tenant("daily_usage"),
        sa.PrimaryKeyConstraint("tenant_id", "day", "model", name=op.f("pk_daily_usage")),
    )


def _make_operators() -> None:
    op.create_table(
        "admin_keys",
        key(),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("last_four", sa.Text(), nullable=False),
        moment_now("created_at"),
        moment("last_used_at"),
        moment("expires_at"),
        moment("revoked_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_admin_keys_digest")),
    )
    op.create_table(
        "audit_entries",
        key(),
        moment_now("created_at"),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index(op.f("ix_audit_entries_tenant_id"), "audit_entries", ["tenant", "id"])


def _limits() -> sa.Column[object]:
    return sa.Column("limits", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False)


def _of_tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id"), ondelete="CASCADE"
    )


def _index_jobs(waiting: list[str], running: list[str]) -> None:
    op.drop_index("ix_jobs_queued", "jobs")
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        [*waiting, sa.literal_column("priority DESC"), "id", "available_at"],
        postgresql_include=["cost"],
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.drop_index("ix_jobs_lease", "jobs")
    op.create_index(
        "ix_jobs_lease",
        "jobs",
        ["lease_expires_at"],
        postgresql_include=running,
        postgresql_where=sa.text("state = 'running'"),
    )
