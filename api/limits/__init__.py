"""Enforce a plan's limits: requests per minute, waiting jobs, credits, concurrency."""
