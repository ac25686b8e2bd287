"""Synthetic scenes, their captions and holes: the training data."""
