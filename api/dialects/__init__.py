"""One folder for each HTTP protocol that callers speak."""
