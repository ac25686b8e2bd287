"""Job functions that all dialects share: submit, wait, estimate the end, read the progress."""
