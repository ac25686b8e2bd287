"""Response bodies that both the gateway and the dispatcher build, one file per dialect."""
