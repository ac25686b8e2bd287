"""Compute devices: memory, copies to the host, timing."""
