"""Claiming jobs by start-time fair queueing between tenants."""
