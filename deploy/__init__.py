"""Running Infill: the command line, the local stack, the container images."""
