"""Signed, persistent delivery of results."""
