"""Estimates of when a job starts and ends: pure functions of what was read of its queue."""
