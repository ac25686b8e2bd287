"""Code shared by the gateway, the workers and the dispatcher; no HTTP routes, no torch."""
