"""Repositories of usage: the ledger, its daily totals, and the usage that counts against quotas."""
