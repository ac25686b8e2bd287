"""The whole stack on one machine: real servers from Python wheels, and our own processes."""
