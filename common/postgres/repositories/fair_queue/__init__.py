"""Repositories of the fair queue: claim jobs, read queues, recount the counters."""
