"""Redis: the doorbell that wakes workers, and the signal that wakes waiting callers.

Nothing here carries a fact. Whatever is lost is found again from the rows.
"""
