"""The networks of the small model and their training."""
