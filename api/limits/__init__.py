"""Limits of a tenant's plan: requests per minute, waiting jobs, credits, concurrency."""
