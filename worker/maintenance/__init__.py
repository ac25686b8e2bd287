"""Recurring work of one elected process: sweeping, retention, erasure."""
