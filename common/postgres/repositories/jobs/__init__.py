"""Recording, reading, renewing and finishing jobs."""
