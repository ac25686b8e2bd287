"""Request bodies in, JSON responses out."""
