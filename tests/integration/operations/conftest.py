"""Fixtures for the operators' use cases: a migrated database with tenants."""

from tests.integration.repositories.conftest import alice, bob, database

__all__ = ["alice", "bob", "database"]  # fixtures from another module
