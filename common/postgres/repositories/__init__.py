"""Repositories: one function per statement; no other package contains SQL."""
