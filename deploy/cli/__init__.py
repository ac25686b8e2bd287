"""The `infill` command line."""
