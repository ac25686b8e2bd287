"""Claiming, recording and reading webhook deliveries."""
