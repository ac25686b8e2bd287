"""Measuring what a trained model draws."""
