"""The usage ledger, its daily totals, and quotas."""
