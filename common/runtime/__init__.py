"""Shared by all processes: clock, logs, metrics, health endpoints, threads."""
