"""Response bodies that both the gateway and the webhook dispatcher build, one file per dialect."""
