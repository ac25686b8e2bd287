"""Evaluate the trained demo model: quality measurements, example sheets, the model card."""
