"""Training and measuring of the small model that ships with Infill; not part of the package."""
