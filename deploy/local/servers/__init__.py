"""PostgreSQL, Redis and an S3 server as child processes, installed as Python wheels."""
