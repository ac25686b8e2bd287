"""Utilities shared by all processes: clock, logs, metrics, health endpoints, threads, caches."""
