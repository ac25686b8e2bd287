"""Deliveries stand in lines, one for each tenant and origin, and tenants take turns."""

import sqlalchemy as sa
from alembic import op

from migrations.delivery_functions import FUNCTIONS, TRIGGERS, definition

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ROLE = "infill_gateway"
OF_TENANT = "tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint)"
CHANGED_ALL_THE_TIME = {
    "fillfactor": "50",
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "2000",
}
UNSENT = "state IN ('pending', 'sending')"

# Of ended ones the origin is named when they are sent again.
NAME_ORIGINS = f"UPDATE deliveries SET origin = infill_origin(url) WHERE {UNSENT}"  # noqa: S608
FILL_LINES = f"""
INSERT INTO tenant_origins (tenant_id, origin, sending, first_due_at, retry_due_at)
SELECT tenant_id, origin, count(*) FILTER (WHERE state = 'sending'),
    coalesce(min(available_at) FILTER (WHERE state = 'pending' AND attempt = 0), 'infinity'),
    coalesce(min(available_at) FILTER (WHERE state = 'pending' AND attempt > 0), 'infinity')
FROM deliveries WHERE {UNSENT} GROUP BY tenant_id, origin
"""  # noqa: S608 our own words
FILL_TURNS = """
INSERT INTO tenant_dispatches (tenant_id, retries, due_at)
SELECT tenant_id, retries, min(due_at)
FROM tenant_origins
CROSS JOIN LATERAL (VALUES (false, first_due_at), (true, retry_due_at)) AS class (retries, due_at)
GROUP BY tenant_id, retries
"""


def upgrade() -> None:
    """Go up."""
    op.execute(definition("infill_origin(url text)"))
    op.add_column("deliveries", sa.Column("origin", sa.Text(), nullable=True))
    op.add_column("delivery_attempts", sa.Column("ended_by", sa.Text(), nullable=True))
    op.execute(NAME_ORIGINS)
    _index_deliveries()
    _make_lines()
    _make_turns()
    for statement in (FILL_LINES, FILL_TURNS):
        op.execute(statement)
    for signature in FUNCTIONS:
        if "trigger" in FUNCTIONS[signature][0]:
            op.execute(definition(signature))
            op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    for name, rest in TRIGGERS.items():
        op.execute(f"CREATE TRIGGER {name} {rest}")
    for table in ("tenant_origins", "tenant_dispatches"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} TO {ROLE} USING ({OF_TENANT})")
    op.execute(f"GRANT SELECT ON tenant_origins TO {ROLE}")


def downgrade() -> None:
    """Go back down; a table's indexes go with it."""
    for name in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON deliveries")
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    for table in ("tenant_dispatches", "tenant_origins"):
        op.drop_table(table)
    for index in ("ix_deliveries_first", "ix_deliveries_retry", "ix_deliveries_lease"):
        op.drop_index(index, "deliveries")
    _index_leases([])
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["available_at"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_column("delivery_attempts", "ended_by")
    op.drop_column("deliveries", "origin")


def _index_deliveries() -> None:
    for name, of_class in (("first", "attempt = 0"), ("retry", "attempt > 0")):
        op.create_index(
            f"ix_deliveries_{name}",
            "deliveries",
            ["tenant_id", "origin", "available_at"],
            postgresql_where=sa.text(f"state = 'pending' AND {of_class}"),
        )
    # By this one the planner would look for a line's next among everybody's.
    op.drop_index("ix_deliveries_due", "deliveries")
    op.drop_index("ix_deliveries_lease", "deliveries")
    _index_leases(["tenant_id", "origin"])


def _index_leases(included: list[str]) -> None:
    op.create_index(
        "ix_deliveries_lease",
        "deliveries",
        ["lease_expires_at"],
        postgresql_include=included,
        postgresql_where=sa.text("state = 'sending'"),
    )


def _make_lines() -> None:
    op.create_table(
        "tenant_origins",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("sending", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _when("first_due_at", "infinity"),
        _when("retry_due_at", "infinity"),
        _when("held_until", "-infinity"),
        _when("open_until", "-infinity"),
        _when("counted_since"),
        sa.Column("requests", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _of_tenant("tenant_origins"),
        sa.PrimaryKeyConstraint("tenant_id", "origin", name=op.f("pk_tenant_origins")),
        postgresql_with=CHANGED_ALL_THE_TIME,
    )
    for name in ("first", "retry"):
        op.create_index(
            f"ix_tenant_origins_{name}",
            "tenant_origins",
            ["tenant_id", sa.text(f"greatest({name}_due_at, held_until)")],
        )
    op.create_index(
        "ix_tenant_origins_open",
        "tenant_origins",
        ["open_until"],
        postgresql_where=sa.text("open_until > '-infinity'"),
    )


def _make_turns() -> None:
    op.create_table(
        "tenant_dispatches",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("retries", sa.Boolean(), nullable=False),
        sa.Column("has_due", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _when("due_at", "infinity"),
        _when("served_at", "-infinity"),
        _of_tenant("tenant_dispatches"),
        sa.PrimaryKeyConstraint("tenant_id", "retries", name=op.f("pk_tenant_dispatches")),
        postgresql_with=CHANGED_ALL_THE_TIME,
    )
    op.create_index(
        "ix_tenant_dispatches_served",
        "tenant_dispatches",
        ["retries", "served_at"],
        postgresql_where=sa.text("has_due"),
    )
    op.create_index(
        "ix_tenant_dispatches_due",
        "tenant_dispatches",
        ["due_at"],
        postgresql_where=sa.text("NOT has_due"),
    )


def _when(name: str, default: str | None = None) -> sa.Column[object]:
    spelled = "now()" if default is None else f"'{default}'"
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text(spelled), nullable=False
    )


def _of_tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id"), ondelete="CASCADE"
    )
