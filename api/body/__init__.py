"""Parsing of request bodies, and JSON responses."""
