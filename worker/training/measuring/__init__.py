"""Measurements of a trained model's images."""
