"""Database migrations: one baseline, then a step for each change of the schema."""
