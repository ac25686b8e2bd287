"""Parse request bodies, and write JSON responses."""
