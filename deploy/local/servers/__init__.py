"""PostgreSQL, Redis and an S3 server as child processes, from Python wheels."""
