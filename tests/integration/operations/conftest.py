"""A migrated database with one tenant in it, for what operators do."""

from tests.integration.repositories.conftest import books, database, other_books

__all__ = ["books", "database", "other_books"]  # fixtures made elsewhere
