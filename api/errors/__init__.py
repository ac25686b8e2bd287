"""Errors a caller can receive, and how each dialect renders them."""
