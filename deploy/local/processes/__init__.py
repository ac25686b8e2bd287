"""Starting, supervising and ending child processes."""
