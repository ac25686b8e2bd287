"""Recurring work of an elected leader: sweeping, retention, tenant erasure."""
