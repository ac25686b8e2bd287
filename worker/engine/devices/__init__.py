"""Compute devices: memory, copies between host and device, timing."""
