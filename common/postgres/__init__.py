"""Postgres: connections, tables and repositories."""
