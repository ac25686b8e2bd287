"""Domain rules for jobs, deliveries, limits and keys: pure functions, standard library only."""
