"""The rules of jobs and deliveries: pure, standard library only."""
