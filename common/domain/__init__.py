"""The rules of jobs, deliveries, limits and keys: pure functions, standard library only."""
