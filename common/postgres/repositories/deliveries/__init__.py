"""Repositories of webhook deliveries: claim, record, read and redeliver."""
