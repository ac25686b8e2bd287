"""How Infill is run: the command line, the local stack, the containers."""
