"""Repositories of webhook deliveries: claim, record, read, recount and redeliver."""
