"""The operator's use cases, called by both the command line and the admin API."""
