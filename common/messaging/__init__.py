"""Redis messages: rings to workers and dispatchers, signals to waiting callers, job progress.

No message is the source of a fact: what is lost is found again in Postgres.
"""
