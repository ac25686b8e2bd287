"""Repositories: one function for each statement on the rows; no other module contains SQL."""
