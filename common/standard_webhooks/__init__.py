"""Standard Webhooks 1.0.0: keys, signatures and an HTTP client."""
