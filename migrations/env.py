"""Alembic environment: run migrations on the connection that deploy.cli.migrate passes."""

from alembic import context

from common.postgres.models import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
)
with context.begin_transaction():
    context.run_migrations()
