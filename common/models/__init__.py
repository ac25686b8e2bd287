"""The tables: columns and constraints only."""
