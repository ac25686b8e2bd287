"""Expiring, requeueing, deleting and vacuuming, in bounded batches."""
