"""Synthetic training data: scenes, their captions and holes."""
