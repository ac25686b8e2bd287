"""Alembic revisions, one module for each change of the schema."""
