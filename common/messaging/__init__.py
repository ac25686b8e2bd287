"""Redis messages: rings for workers and dispatchers, signals for waiting callers, job progress.

Postgres remains the source of truth: if a message is lost, the change that it announced is found
there later.
"""
