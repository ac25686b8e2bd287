"""Authentication: API keys of tenants and admin keys of operators."""
