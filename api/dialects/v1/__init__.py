"""The native API v1: job progress, cancellation and webhooks, which the v3 dialect lacks."""
