"""The networks of the small demo model and their training."""
