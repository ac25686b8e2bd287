"""Access to Postgres: connections, table models and repositories."""
