"""Repositories of maintenance: expire, requeue, delete and vacuum, in bounded batches."""
