"""Starting, supervising and stopping child processes."""
