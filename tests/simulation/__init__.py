"""Simulation of tenants, jobs and engines of known speed, in simulated time."""
