"""Training and evaluation of the small demo model that Infill ships; not part of the package."""
