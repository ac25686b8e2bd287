"""The whole stack on one machine: servers from Python wheels, and Infill's own processes."""
