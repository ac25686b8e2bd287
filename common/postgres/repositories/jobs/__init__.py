"""Repositories of jobs: record, read, renew, release and finish jobs."""
