"""The `infill` command."""
