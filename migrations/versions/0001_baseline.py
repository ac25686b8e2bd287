"""Create the schema of release 0.1.0, which later migrations change step by step."""

from typing import Final

from alembic import op

from migrations.sql_files import read_statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# In order: a table after those it refers to, rights after the tables and functions they are on.
FILES: Final = (
    "tenants.sql",
    "jobs.sql",
    "usage.sql",
    "deliveries.sql",
    "delivery_triggers.sql",
    "gateway_functions.sql",
    "row_level_security.sql",
)


def upgrade() -> None:
    """Create all tables, functions and rights in an empty database."""
    for name in FILES:
        _run(name)


def downgrade() -> None:
    """Drop everything except the role, which other databases of the cluster may use."""
    _run("drop.sql")


def _run(name: str) -> None:
    connection = op.get_bind()
    for statement in read_statements(f"baseline/{name}"):
        connection.exec_driver_sql(statement)
