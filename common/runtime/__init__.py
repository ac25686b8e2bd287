"""Utilities shared by all processes, such as clock, logs, metrics, health endpoints and caches."""
