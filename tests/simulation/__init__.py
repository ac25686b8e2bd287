"""Tenants, their jobs and engines of known speed, in a time of their own."""
