"""Synthetic training data: images of coloured shapes ("scenes"), their captions and their holes."""
