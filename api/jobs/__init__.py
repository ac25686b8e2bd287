"""Submitting a job, waiting for it and estimating its end: what every dialect calls."""
