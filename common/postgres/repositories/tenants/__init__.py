"""Tenants, plans, keys, webhook secrets and the audit log."""
