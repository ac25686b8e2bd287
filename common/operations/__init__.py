"""What an operator does: the command line and the admin routes both call these."""
