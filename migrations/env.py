"""Alembic environment: run migrations on the connection that deploy.cli.migrate passes."""

from alembic import context

from common.postgres.models import Table

# True also if the role does not exist, as before the first migration.
IS_SHOWN = """
SELECT coalesce(bool_and(has_table_privilege(oid, 'alembic_version', 'SELECT')), true)
FROM pg_roles WHERE rolname = 'infill_gateway'
"""


def _show_revision_to_gateways() -> None:
    """Grant gateways read access to alembic's table, so that they can check its revision."""
    connection = context.config.attributes["connection"]
    if not connection.exec_driver_sql(IS_SHOWN).scalar():
        connection.exec_driver_sql("GRANT SELECT ON alembic_version TO infill_gateway")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
)
with context.begin_transaction():
    context.run_migrations()
    _show_revision_to_gateways()
