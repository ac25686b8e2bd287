"""The native API v1: what a tenant can do with its API key beyond v3."""
