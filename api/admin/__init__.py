"""The operator's face: tenants and their keys."""
