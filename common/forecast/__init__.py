"""Estimates of when a job starts and ends: pure functions of queue readings."""
