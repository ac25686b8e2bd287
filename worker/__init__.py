"""The GPU worker, the webhook dispatcher and the maintenance tasks."""
