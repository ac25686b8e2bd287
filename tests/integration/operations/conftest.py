"""Fixtures for the operators' use cases: a migrated database with tenants."""

from tests.integration.repositories.conftest import books, database, other_books

__all__ = ["books", "database", "other_books"]  # fixtures made elsewhere
