"""Use cases of an operator, called by both the command line and the admin routes."""
