"""Database migrations: a baseline, then one step per change of the schema."""
