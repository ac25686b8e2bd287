"""Dialects: the HTTP protocols that tenants use, one folder per protocol."""
