"""Postgres: connections, prepared statements, tables and repositories."""
