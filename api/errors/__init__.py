"""Errors that callers receive, and their rendering in each dialect."""
