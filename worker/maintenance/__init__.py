"""Periodic maintenance by an elected leader: sweeping, retention, tenant erasure."""
