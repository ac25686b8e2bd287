"""The guard every outgoing request to a tenant's address passes."""
