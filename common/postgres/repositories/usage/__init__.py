"""Repositories of usage: the ledger, its daily totals, and what quotas compare."""
