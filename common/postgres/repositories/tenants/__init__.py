"""Repositories of tenants, plans, keys, webhook secrets and the audit log."""
