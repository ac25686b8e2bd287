"""The gateway: HTTP requests in, recorded jobs and their results out; loads no torch."""
