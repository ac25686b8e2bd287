"""Masks: editing, cropping, the model's mask, and composing the result."""
