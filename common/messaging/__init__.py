"""Redis messages: rings for workers and dispatchers, signals for waiting callers, job progress.

Postgres remains the source of truth: whatever a lost message announced is found there later.
"""
