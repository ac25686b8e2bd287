"""How alembic reaches the database: over the connection deploy.cli.migrate hands it."""

from alembic import context

from common.postgres.models import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
)
with context.begin_transaction():
    context.run_migrations()
