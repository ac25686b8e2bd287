"""The dialects: one folder per HTTP protocol that tenants use."""
