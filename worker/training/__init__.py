"""Train and evaluate the small demo model that Infill ships; not part of the package."""
